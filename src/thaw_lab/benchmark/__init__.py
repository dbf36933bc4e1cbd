"""Measures thaw against the same work written by hand in Keras: `python scripts/benchmark.py`."""

"""Reproduction of a run: what the store has of it, and the comparison with its rerun."""

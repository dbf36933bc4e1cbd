"""The same work as people write it in PyTorch: a script for an interpreter of its own, which has no thaw."""

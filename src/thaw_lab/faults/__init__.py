"""Faults on purpose: a small real training is killed, torn, filled up, locked out, and has to end the same."""

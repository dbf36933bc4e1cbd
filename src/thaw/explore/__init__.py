"""Explores a data set before training: its statistics, and findings such as duplicates and likely wrong labels."""

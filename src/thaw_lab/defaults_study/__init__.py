"""Measures what recipes reach on data sets of different kinds: how the defaults were chosen."""

"""Advice before training: what frozen features at each depth of a network tell of the data, and what thawing costs."""

"""Backbones, their weights, heads, and the freeze plan."""

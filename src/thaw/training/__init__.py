"""Recipes (plans), stages, and the one place that fits."""

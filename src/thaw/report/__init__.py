"""Draws what was measured: one self-contained page, charts as PNG, and the numbers beside them as JSON and CSV."""

"""Looks a data set through before anything is trained on it: what is in it, and what is probably wrong with it."""

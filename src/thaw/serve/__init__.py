"""Answers of a trained network outside its run: as a model of the store, and over HTTP."""

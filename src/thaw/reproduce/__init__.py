"""A run done again from what the store knows of it, and held against what it was."""

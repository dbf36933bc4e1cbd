"""Commands other than training: one module a script."""

"""What came out: figures, pictures and tables, and the one file that scripts read."""

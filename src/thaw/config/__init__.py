"""Every choice a user can make: its type, its range, its default and its help."""

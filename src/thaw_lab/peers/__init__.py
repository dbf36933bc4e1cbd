"""Other tools on the same files, with their own defaults and the same weights; each needs an environment of its own."""

"""Scripts that do the same work with thaw, each in a fresh process, and measure what only that process can tell."""

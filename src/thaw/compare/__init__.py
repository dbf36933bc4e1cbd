"""Sets trained networks side by side: on the same test images, in figures, curves, tests and pictures."""

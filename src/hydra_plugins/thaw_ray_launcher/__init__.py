"""thaw's launcher for Ray, where Hydra looks for plugins."""

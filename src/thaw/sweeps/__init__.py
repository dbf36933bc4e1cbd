"""Sweeps: the space of settings, the study that decides and remembers, and the processes that run the jobs."""

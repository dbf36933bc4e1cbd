"""The command line: Hydra's `key=value` for every command, checks before anything heavy, errors that help."""

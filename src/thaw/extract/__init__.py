"""The command `extract`: what runs would compute into the cache, ahead of them, here or by the workers of Ray."""

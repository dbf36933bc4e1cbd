"""The same work done by thaw, in processes of their own: what only a process can tell is measured inside it."""

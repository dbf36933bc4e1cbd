"""Measures and breaks thaw from outside: the benchmark and fault injection. Not part of the package's interface."""

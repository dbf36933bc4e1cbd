"""Hashes of weights. They are read in place, as copying them took longer than SHA-256 itself."""

import hashlib
from typing import Any


def weights_sha256(model: Any) -> str:
    """Return the sha256 over the values of all weights, statistics included, in layer order."""
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(_values(variable))
    return digest.hexdigest()


def variable_sha256(variable: Any) -> str:
    """Return the sha256 of a variable's values."""
    return hashlib.sha256(_values(variable)).hexdigest()


def _values(variable: Any) -> memoryview:
    """Return a Keras variable's bytes in C order, copied from a GPU if they lie there."""
    return memoryview(variable.value.read_value())

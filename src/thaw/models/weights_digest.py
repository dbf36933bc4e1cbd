"""Hashes of weights. Values are read where TensorFlow keeps them: copies took longer than SHA-256 itself."""

import hashlib
from typing import Any


def weights_sha256(model: Any) -> str:
    """sha256 over the values of all weights, statistics included, in layer order."""
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(_values(variable))
    return digest.hexdigest()


def variable_sha256(variable: Any) -> str:
    """sha256 of a variable's values."""
    return hashlib.sha256(_values(variable)).hexdigest()


def _values(variable: Any) -> memoryview:
    """A Keras variable's bytes, in C order; from a GPU they are fetched."""
    return memoryview(variable.value.read_value())

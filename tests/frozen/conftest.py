"""Fixtures: a small network, divided in its middle, with an empty cache."""

from pathlib import Path

import pytest

from thaw.cache import DiskCache
from thaw.config.schema import HeadConfig
from thaw.frozen.activations import FrozenPart
from thaw.frozen.engine import InferenceFunction

from .small_network import build_network, divide, frozen_part


@pytest.fixture(scope="module")
def joined():
    return build_network(HeadConfig(name="linear"))


@pytest.fixture(scope="module")
def parts(joined):
    return divide(joined, "conv_pw_3")


@pytest.fixture(scope="module")
def function(parts) -> InferenceFunction:
    return InferenceFunction(parts.frozen, "tensorflow", "float32")


@pytest.fixture
def store(tmp_path: Path) -> DiskCache:
    return DiskCache(tmp_path / "cache", 1e9)


@pytest.fixture
def frozen(parts, function) -> FrozenPart:
    return frozen_part(parts, function)

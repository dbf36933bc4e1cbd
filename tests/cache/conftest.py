"""A small store."""

from pathlib import Path

import pytest

from thaw.cache import Space, Store

from .made import KEY


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache", 1e9)


@pytest.fixture
def space(store: Store) -> Space:
    return store.space(KEY)

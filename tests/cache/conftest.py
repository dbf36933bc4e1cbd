"""A small store."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from thaw.cache import DiskCache, RowStore

from .synthetic_rows import KEY


@pytest.fixture
def store(tmp_path: Path) -> DiskCache:
    return DiskCache(tmp_path / "cache", 1e9)


@pytest.fixture
def space(store: DiskCache) -> RowStore:
    return store.space(KEY)


@pytest.fixture
def tiny(tmp_path):
    """A disk of 1 MB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    if os.name == "nt" or os.geteuid() or not shutil.which("mount"):
        pytest.skip("mounting a small disk takes root")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)

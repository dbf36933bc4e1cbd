"""Rows that are made of a number, and processes that use the cache at the same time."""

import hashlib
import os
import secrets
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np

from thaw.cache import CachedRows, RowStore
from thaw.cache import segment as segments

SRC = Path(__file__).parent.parent.parent / "src"
HEAD = "import os, signal, sys, time\n"
HEAD += "from thaw.cache import DiskCache, compaction, file_pool, rows, writer\nfrom synthetic_rows import *\n"
KEY = {"kind": "activations", "backbone": "inceptionv3", "weights": "ab", "cut": ["mixed6"], "image_size": 96}


def digest(number: int) -> str:
    return hashlib.sha256(b"image %d" % number).hexdigest()


def content(number: int) -> np.ndarray:
    """float32 (5, 4, 3): another one for each number."""
    return np.random.default_rng(number).standard_normal((5, 4, 3), dtype=np.float32)


class Work:
    """Computes rows by number, and remembers which."""

    def __init__(self, numbers, make=content) -> None:
        self.numbers, self.make = list(numbers), make
        self.done: list[int] = []

    @property
    def digests(self) -> list[str]:
        return [digest(number) for number in self.numbers]

    def __call__(self, positions):
        for position in positions:
            self.done.append(self.numbers[position])
            yield self.make(self.numbers[position])


def fill(space: RowStore, numbers, make=content) -> tuple[CachedRows, list[int]]:
    """Open the rows of these numbers; return them and the numbers that had to be computed."""
    work = Work(numbers, make)
    rows = space.get_or_compute(work.digests, work)
    for position, number in enumerate(work.numbers):
        assert rows.row(position).tobytes() == make(number).tobytes(), f"row {number} is not what was computed"
        assert rows.shape(position) == make(number).shape
    return rows, work.done


def assert_clean(space: RowStore) -> None:
    """Assert that every file, and every byte of it, is named by an index."""
    folder = space._folder
    committed, corrupt = segments.read_segments(folder)
    assert not corrupt
    names = {each.name for each in committed}
    assert {path.name for path in folder.iterdir()} == {
        "space.json",
        *(f"{name}.{kind}" for name in names for kind in ("index", "rows")),
    }
    for each in committed:
        assert each.rows_path.stat().st_size == segments.data_size(each.table)


def start(script: str, *arguments: object) -> subprocess.Popen:
    """Run Python code in a process of its own, with the names of this module imported."""
    path = os.pathsep.join([str(SRC), str(Path(__file__).parent)])
    return subprocess.Popen(
        [sys.executable, "-u", "-c", HEAD + script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def scatter(space: RowStore, numbers, per: int = 1) -> None:
    """Write rows into many small segments of `per` rows each, as many short calls of earlier versions did."""
    numbers = list(numbers)
    space._folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(numbers), per):
        group = numbers[first : first + per]
        data = [content(number).tobytes() for number in group]
        offsets = np.cumsum([0, *map(len, data)])
        entries = [
            (np.frombuffer(bytes.fromhex(digest(number)), np.uint8), offset, len(row), zlib.crc32(row), 3, (5, 4, 3, 0))
            for number, row, offset in zip(group, data, offsets.tolist(), strict=False)
        ]
        name = secrets.token_hex(8)
        (space._folder / f"{name}.rows").write_bytes(b"".join(data))
        body = np.array(entries, segments.ROW_DTYPE).tobytes()
        (space._folder / f"{name}.index").write_bytes(b"thaw-idx1" + hashlib.sha256(body).digest() + body)
    space._write_key()


def count(space: RowStore) -> int:
    """Segments on disk."""
    return len(list(space._folder.glob("*.index")))

"""Extraction of activations that is interrupted, finds damaged rows or shares the cache with another process."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from thaw.cache import DiskCache
from thaw.data import pixels
from thaw.frozen import activations, cut_choice

from .small_network import assert_rows, computed_images, expected_tensors, read_photos


class BrokenPixels:
    """Pixels whose third group raises an error."""

    def __init__(self, pictures: pixels.Pixels, error: type[BaseException], first: int) -> None:
        self.pictures, self.error, self.first, self.decode_options = pictures, error, first, pictures.decode_options

    def digests(self, indices: np.ndarray) -> list[str]:
        return self.pictures.digests(indices)

    def take(self, indices: np.ndarray) -> np.ndarray:
        if indices[0] == self.first:
            raise self.error
        return self.pictures.take(indices)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_run_caches_its_rows_and_the_next_one_is_right(
    tmp_path, store, frozen, function, monkeypatch, error: type[BaseException]
) -> None:
    monkeypatch.setattr(activations, "BATCH_SIZE", 4)
    pictures = read_photos(tmp_path / "data", list(range(20)))
    with pytest.raises(error):
        frozen.cached_activations(store, BrokenPixels(pictures, error, 8), np.arange(20))
    assert computed_images(frozen) == 8
    kept = frozen.cached_activations(store, pictures, np.arange(20))
    assert (kept.rows.hits, kept.rows.misses, computed_images(frozen)) == (8, 12, 12)
    assert_rows(kept.take(np.arange(20)), expected_tensors(function, list(range(20))))


def test_a_damaged_row_is_computed_again(tmp_path, store, frozen, function) -> None:
    pictures = read_photos(tmp_path / "data", list(range(8)))
    frozen.cached_activations(store, pictures, np.arange(8))
    computed_images(frozen)
    (data,) = store.folder.glob("*/*.rows")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    kept = frozen.cached_activations(store, pictures, np.arange(8))
    assert computed_images(frozen) == kept.rows.misses == 1
    assert_rows(kept.take(np.arange(8)), expected_tensors(function, list(range(8))))


def test_a_budget_that_the_plan_calls_enough_is_enough(tmp_path, frozen, parts) -> None:
    """`choose_cut` caches a cut whose rows take no more than cache.max_gb; the run must not stop then."""
    exact = 8 * 4 * sum(int(np.prod(shape)) for shape in parts.cut.shapes) + cut_choice.INDEX_BYTES_PER_ROW * (8 + 32)
    kept = frozen.cached_activations(
        DiskCache(tmp_path / "cache", exact), read_photos(tmp_path / "data", list(range(8))), np.arange(8)
    )
    assert kept.rows.misses == 8


EXTRACT_SCRIPT = """
import hashlib, sys, time
from pathlib import Path
import numpy as np
from thaw.common import tensorflow_setup
tensorflow_setup.start_tensorflow(0, deterministic=True)
import keras
from thaw.common import environment
from thaw.cache import DiskCache
from thaw.config.schema import BackboneConfig
from thaw.data import pixels
from thaw.data.catalog import Catalog
from thaw.frozen import activations
from thaw.frozen.engine import EngineChoice, InferenceFunction
from thaw.models.network import Cut
activations.BATCH_SIZE = 4
cache, go, backwards = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "1"
images = keras.Input((16, 16, 3), name="images")
frozen = keras.Model([images], [keras.layers.Conv2D(4, 3, name="conv")(images)])
arrays = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3)).astype(np.uint8)
arrays = arrays[::-1] if backwards else arrays
names = tuple(map(str, range(24)))
catalog = Catalog(names, None, arrays, np.zeros(24, np.int32), ("a",), np.full(24, -1, np.int8))
pictures = pixels.of_catalog(catalog, np.arange(24), 16)
function = InferenceFunction(frozen, "tensorflow", "float32")
ran = 0
def slowly(images):
    global ran
    ran += len(images)
    time.sleep(0.1)
    return function(images)
made = activations.FrozenPart(
    frozen, Cut(1, ("conv",), ((14, 14, 4),)), BackboneConfig(name="mobilenet"),
    EngineChoice("tensorflow", "1", "float32", "float32"),
)
vars(made)["own_function"] = slowly
print("ready", flush=True)
while not go.exists():
    time.sleep(0.01)
kept = made.cached_activations(DiskCache(cache, 1e9), pictures, np.arange(24))
rows = kept.take(np.arange(24))[0]
rows = rows[::-1] if backwards else rows
print("done", kept.rows.hits, kept.rows.misses, ran, hashlib.sha256(rows.tobytes()).hexdigest(), flush=True)
"""


@pytest.mark.slow
def test_two_processes_on_one_cache_compute_each_image_once(tmp_path: Path) -> None:
    """At the same time, their images in opposite orders."""
    src = Path(__file__).parent.parent.parent / "src"
    arguments = (str(tmp_path / "cache"), str(tmp_path / "go"))
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", EXTRACT_SCRIPT, *arguments, backwards],
            env={**os.environ, "PYTHONPATH": str(src)}, stdout=subprocess.PIPE, text=True,
        )
        for backwards in "01"
    ]  # fmt: skip
    for run in runs:
        assert run.stdout.readline() == "ready\n"
    (tmp_path / "go").touch()
    outs = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    found = [next(line for line in out.splitlines() if line.startswith("done")).split()[1:] for out in outs]
    hits, misses, ran, hashes = zip(*found, strict=True)
    assert sum(map(int, misses)) == sum(map(int, ran)) == 24
    assert sum(map(int, hits)) == 24
    assert hashes[0] == hashes[1]

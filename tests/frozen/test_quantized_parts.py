"""Frozen parts in int8: rows of their own, the same from the images or through cuts, warm or cold."""

import importlib.util

import numpy as np
import pytest

from thaw.cache import DiskCache
from thaw.frozen import quantization
from thaw.frozen.activations import FrozenPart, build_frozen_part
from thaw.frozen.engine import EngineChoice

from .small_network import BACKBONE, read_photos

# Found, not imported: the import would bring telemetry into the process, which quantization.py keeps out.
pytestmark = pytest.mark.skipif(importlib.util.find_spec("nncf") is None, reason="needs nncf, thaw's extra int8")

INT8 = EngineChoice("openvino", "1", "int8", "float32")
FLOAT32 = EngineChoice("openvino", "1", "float32", "float32")
TRAIN = np.arange(12)


def part(joined, pictures, *, cuts: tuple[int, ...] = (), choice: EngineChoice = INT8, train=TRAIN, cache=None):
    """The part up to layer 40, computed through the cuts."""
    from thaw.models.network import cut_at

    calibration, source = quantization.run_calibration(choice, pictures, train), None
    for index in (*cuts, 40):
        source = build_frozen_part(
            joined, cut_at(joined, index), BACKBONE, choice, source, stored_views=0, network_cache=cache,
            calibration=calibration,
        )  # fmt: skip
    assert isinstance(source, FrozenPart)
    return source


@pytest.fixture
def pictures(tmp_path):
    return read_photos(tmp_path / "data", list(range(16)))


def test_int8_rows_are_never_found_as_others_and_never_find_others(joined, pictures, store) -> None:
    parts = [
        part(joined, pictures),
        part(joined, pictures, train=TRAIN[1:]),  # quantised on other images
        part(joined, pictures, cuts=(20,)),
        part(joined, pictures, choice=FLOAT32),
        part(joined, pictures, choice=EngineChoice("openvino", "1", "bfloat16", "float32")),
    ]
    indices = np.arange(3)
    for each in parts:
        assert each.cached_activations(store, pictures, indices).rows.hits == 0
    for each in parts:
        assert each.cached_activations(store, pictures, indices).rows.hits == 3
    assert len({str(each.network_key()) for each in parts}) == 4  # float32 and bfloat16 are converted alike


def test_the_key_of_other_precisions_is_what_it_was(joined, pictures) -> None:
    whole = part(joined, pictures, choice=FLOAT32)
    assert "calibration" not in whole.network_key()
    assert "calibration" not in whole._activations_key(None)


@pytest.mark.parametrize("cuts", [(), (20,)])
def test_the_same_images_give_the_same_rows_warm_and_cold(joined, pictures, tmp_path, cuts: tuple[int, ...]) -> None:
    """A quantised network from the cache computes what a fresh one does, on activations of a cut too."""
    indices, cache = np.arange(5), DiskCache(tmp_path / "cache", 1e9)
    rows = []
    for name, networks in (("a", cache), ("b", cache), ("c", None)):
        made = part(joined, pictures, cuts=cuts, cache=networks)
        kept = made.cached_activations(DiskCache(tmp_path / name, 1e9), pictures, indices)
        rows.append(kept.take(indices)[0])
    assert rows[0].tobytes() == rows[1].tobytes() == rows[2].tobytes()
    exact = part(joined, pictures, choice=FLOAT32).inference_function()(pictures.take(indices))[0]
    assert np.corrcoef(rows[0].ravel(), exact.ravel())[0, 1] > 0.9


def test_a_network_is_quantised_once_for_a_cache(joined, pictures, tmp_path, monkeypatch) -> None:
    cache, quantize, calls = DiskCache(tmp_path / "cache", 1e9), quantization.quantize, []
    monkeypatch.setattr(quantization, "quantize", lambda *args: calls.append(1) or quantize(*args))
    for _ in range(2):
        part(joined, pictures, cache=cache).inference_function()(pictures.take(TRAIN[:1]))
    assert len(calls) == 1


def test_int8_without_a_calibration_is_a_mistake_of_the_program(joined, pictures) -> None:
    from thaw.models.network import cut_at

    made = build_frozen_part(joined, cut_at(joined, 20), BACKBONE, INT8)
    with pytest.raises(AssertionError, match="calibration"):
        made.inference_function()

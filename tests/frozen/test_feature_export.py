"""Export of features to .npy files."""

from dataclasses import replace

import numpy as np
import pytest

from thaw.frozen import activations, feature_export

from .small_network import CHOICE, VIEW, expected_tensors, frozen_part, read_photos


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_export_writes_the_cached_activations(tmp_path, store, parts, function, monkeypatch, precision: str) -> None:
    monkeypatch.setattr(activations, "BATCH_SIZE", 4)  # the last group is not full
    indices = np.array([1, 2, 4, 5, 8, 10])
    frozen = frozen_part(parts, function, replace(CHOICE, frozen=precision))
    pictures = read_photos(tmp_path / "data", list(range(12)))
    kept = frozen.cached_activations(store, pictures, indices)
    feature_export.export_features(frozen, store, pictures, indices, None, tmp_path / "out" / "train")
    assert np.load(tmp_path / "out" / "train-indices.npy").tolist() == indices.tolist()
    for i, tensor in enumerate(kept.take(indices)):
        written = np.load(tmp_path / "out" / f"train-{i}.npy")
        assert written.dtype == np.float32
        assert written.shape == (6, *parts.cut.shapes[i])
        assert written.tobytes() == tensor.tobytes()
    expected = expected_tensors(function, indices.tolist())
    for i, tensor in enumerate(expected):
        error = np.abs(np.load(tmp_path / "out" / f"train-{i}.npy") - tensor).max() / np.abs(tensor).max()
        assert (error == 0) == (precision == "float32")
        assert error < 2**-8


def test_export_without_a_cache_writes_the_same(tmp_path, store, parts, function) -> None:
    frozen, indices = frozen_part(parts, function), np.arange(2, 9)
    pictures = read_photos(tmp_path / "data", list(range(12)))
    for view in (None, VIEW):
        feature_export.export_features(frozen, store, pictures, indices, view, tmp_path / "kept" / "train")
        feature_export.export_features(frozen, None, pictures, indices, view, tmp_path / "live" / "train")
        for file in sorted((tmp_path / "kept").iterdir()):
            assert file.read_bytes() == (tmp_path / "live" / file.name).read_bytes()

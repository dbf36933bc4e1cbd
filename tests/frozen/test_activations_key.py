"""What the cache key of activations depends on, for a network that is nothing but its weights: no TensorFlow."""

import importlib.metadata
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from thaw.cache import DiskCache
from thaw.common import hardware
from thaw.data import decode
from thaw.data.decode import DecodeOptions
from thaw.frozen import activations
from thaw.frozen.activations import activations_key
from thaw.models.weights_hash import weights_sha256

from .small_network import AUGMENT, BACKBONE, CHOICE, SIZE, VIEW


def variable(values: object, dtype: type = np.float32) -> SimpleNamespace:
    array = np.asarray(values, dtype)
    return SimpleNamespace(value=SimpleNamespace(read_value=lambda: array), shape=array.shape)


def model(weights: tuple = ([[1, 2], [3, 4]], [5, 6]), size: int = SIZE, dtype: type = np.float32) -> SimpleNamespace:
    inputs = [SimpleNamespace(shape=(None, size, size, 3))]
    return SimpleNamespace(inputs=inputs, weights=[variable(w, dtype) for w in weights])


BASE: dict = {
    "model": model(),
    "graph": "0" * 64,
    "cut": ("add_1", "conv_2"),
    "backbone": BACKBONE,
    "preprocess": "tf",
    "choice": CHOICE,
    "view": VIEW,
}


def space_id(tmp_path: Path, **changed: object) -> str:
    given = {**BASE, **changed}
    return DiskCache(tmp_path, 1e9).space(activations_key(weights=weights_sha256(given["model"]), **given)).id


def versions(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    own = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99.9" if name == package else own(name))


CHANGED = {
    "backbone": {"backbone": replace(BACKBONE, name="mobilenetv2")},
    "alpha": {"backbone": replace(BACKBONE, alpha=0.5)},
    "depth multiplier": {"backbone": replace(BACKBONE, depth_multiplier=2)},
    "minimalistic": {"backbone": replace(BACKBONE, minimalistic=True)},
    "image size": {"model": model(size=64)},
    "bits of 16-bit channels": {"decode_options": DecodeOptions(12)},
    "rule of resizing": {"decode_options": DecodeOptions(resize="crop")},
    "preprocessing": {"preprocess": "caffe"},
    "a weight": {"model": model(([[1, 2], [3, 4]], [5, 6.0001]))},
    "a weight's sign": {"model": model(([[1, 2], [3, -4]], [5, 6]))},
    "weights in another order": {"model": model(([5, 6], [[1, 2], [3, 4]]))},
    "a weight's shape": {"model": model(([1, 2, 3, 4], [5, 6]))},
    "where one weight ends": {"model": model(([1, 2, 3], [4, 5, 6]))},
    "a layer more": {"model": model(([[1, 2], [3, 4]], [5, 6], [7]))},
    "the graph": {"graph": "1" * 64},
    "the cut": {"cut": ("add_1", "conv_3")},
    "a tensor less": {"cut": ("add_1",)},
    "tensors in another order": {"cut": ("conv_2", "add_1")},
    "precision": {"choice": replace(CHOICE, frozen="bfloat16")},
    "engine": {"choice": replace(CHOICE, engine="openvino")},
    "engine's version": {"choice": replace(CHOICE, version="2.22")},
    "a GPU": {"choice": replace(CHOICE, device="gpu")},
    "a GPU with TensorFloat-32": {"choice": replace(CHOICE, device="gpu", tf32=True)},
    "no view": {"view": None},
    "view's number": {"view": replace(VIEW, number=1)},
    "seed": {"view": replace(VIEW, seed=8)},
    "flip": {"view": replace(VIEW, augment=replace(AUGMENT, flip=False))},
    "shift": {"view": replace(VIEW, augment=replace(AUGMENT, shift=0.1))},
    "operations": {"view": replace(VIEW, augment=replace(AUGMENT, ops=2))},
    "crop": {"view": replace(VIEW, augment=replace(AUGMENT, crop=0.5))},
    "colours": {"view": replace(VIEW, augment=replace(AUGMENT, color=0.2))},
    "erasing": {"view": replace(VIEW, augment=replace(AUGMENT, erase=0.5))},
    "magnitude": {"view": replace(VIEW, augment=replace(AUGMENT, magnitude=6))},
}


PATCHED = {
    "rules of decoding": lambda patch: patch.setattr(decode, "VERSION", decode.VERSION + 1),
    "another processor's instructions": lambda patch: patch.setattr(hardware, "instruction_sets", lambda: ("sse",)),
    "a variable that chooses kernels": lambda patch: patch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41"),
    "threads, of TensorFlow": lambda patch: patch.setattr(hardware, "cpu_count", lambda: 99),
    "format": lambda patch: patch.setattr(activations, "KEY_FORMAT", activations.KEY_FORMAT + 1),
    "Keras": lambda patch: versions(patch, "keras"),
    "Pillow": lambda patch: versions(patch, "pillow"),
}


@pytest.mark.parametrize("field", CHANGED)
def test_what_activations_depend_on_makes_another_space(tmp_path: Path, field: str) -> None:
    assert space_id(tmp_path, **CHANGED[field]) != space_id(tmp_path)


@pytest.mark.parametrize("field", PATCHED)
def test_another_version_of_what_makes_them_makes_another_space(tmp_path: Path, monkeypatch, field: str) -> None:
    before = space_id(tmp_path)
    PATCHED[field](monkeypatch)
    assert space_id(tmp_path) != before


def test_no_two_changes_end_in_one_space(tmp_path: Path) -> None:
    ids = [space_id(tmp_path, **changed) for changed in CHANGED.values()]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    "same",
    [
        {"backbone": replace(BACKBONE, weights="imagenet")},  # where they came from; their hash is in the key
        {"backbone": replace(BACKBONE, freeze="conv_pw_6")},
        {"backbone": replace(BACKBONE, image_size=None)},  # the size that the network has counts
        {"choice": replace(CHOICE, trained="bfloat16")},
        {"view": replace(VIEW, augment=replace(AUGMENT, name="strong"))},
        {"model": model()},
        {},
    ],
)
def test_what_they_do_not_depend_on_finds_the_same_space(tmp_path: Path, same: dict) -> None:
    assert space_id(tmp_path, **same) == space_id(tmp_path)

"""Activations kept by content: what they depend on, what they do not, and what is computed again."""

import importlib.metadata
import os
import subprocess
import sys
import time
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from thaw.cache import DiskCache, writer
from thaw.common import hardware
from thaw.config.schema import AugmentConfig, BackboneConfig, HeadConfig
from thaw.data import decode, pipeline, pixels
from thaw.data.catalog import Catalog
from thaw.data.decode import DecodeOptions
from thaw.data.pipeline import AugmentedView
from thaw.frozen import activations, cuts, feature_export
from thaw.frozen.activations import FrozenPart, activations_key
from thaw.frozen.engine import EngineChoice, InferenceFunction
from thaw.models.weights_digest import weights_sha256

SIZE = 32
BACKBONE = BackboneConfig(name="mobilenet", alpha=0.25, image_size=SIZE, weights="none")
CHOICE = EngineChoice("tensorflow", "2.21", "float32", "float32")
AUGMENT = AugmentConfig(name="light", flip=True, shift=0.2, ops=1, magnitude=5)
VIEW = AugmentedView(AUGMENT, 7, 0)


# The key, of a network that is nothing but its weights: no TensorFlow.


def variable(values: object, dtype: type = np.float32) -> SimpleNamespace:
    array = np.asarray(values, dtype)
    return SimpleNamespace(value=SimpleNamespace(read_value=lambda: array), shape=array.shape)


def model(weights: tuple = ([[1, 2], [3, 4]], [5, 6]), size: int = SIZE, dtype: type = np.float32) -> SimpleNamespace:
    inputs = [SimpleNamespace(shape=(None, size, size, 3))]
    return SimpleNamespace(inputs=inputs, weights=[variable(w, dtype) for w in weights])


BASE: dict = {
    "frozen": model(),
    "graph": "0" * 64,
    "cut": ("add_1", "conv_2"),
    "backbone": BACKBONE,
    "preprocess": "tf",
    "choice": CHOICE,
    "view": VIEW,
}


def space_id(tmp_path: Path, **changed: object) -> str:
    given = {**BASE, **changed}
    return DiskCache(tmp_path, 1e9).space(activations_key(weights=weights_sha256(given["frozen"]), **given)).id


def versions(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    own = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99.9" if name == package else own(name))


CHANGED = {
    "backbone": {"backbone": replace(BACKBONE, name="mobilenetv2")},
    "alpha": {"backbone": replace(BACKBONE, alpha=0.5)},
    "depth multiplier": {"backbone": replace(BACKBONE, depth_multiplier=2)},
    "minimalistic": {"backbone": replace(BACKBONE, minimalistic=True)},
    "image size": {"frozen": model(size=64)},
    "bits of 16-bit channels": {"rules": DecodeOptions(12)},
    "preprocessing": {"preprocess": "caffe"},
    "a weight": {"frozen": model(([[1, 2], [3, 4]], [5, 6.0001]))},
    "a weight's sign": {"frozen": model(([[1, 2], [3, -4]], [5, 6]))},
    "weights in another order": {"frozen": model(([5, 6], [[1, 2], [3, 4]]))},
    "a weight's shape": {"frozen": model(([1, 2, 3, 4], [5, 6]))},
    "where one weight ends": {"frozen": model(([1, 2, 3], [4, 5, 6]))},
    "a layer more": {"frozen": model(([[1, 2], [3, 4]], [5, 6], [7]))},
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
    "magnitude": {"view": replace(VIEW, augment=replace(AUGMENT, magnitude=6))},
}
PATCHED = {
    "rules of decoding": lambda patch: patch.setattr(decode, "VERSION", decode.VERSION + 1),
    "rule of resizing": lambda patch: patch.setattr(decode, "RESIZE_RULE", "crop-bicubic"),
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
        {"frozen": model()},
        {},
    ],
)
def test_what_they_do_not_depend_on_finds_the_same_space(tmp_path: Path, same: dict) -> None:
    assert space_id(tmp_path, **same) == space_id(tmp_path)


# Rows, of a real network on real files.


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)


def photos(folder: Path, numbers: list[int]) -> list[str]:
    """PNG files by number; the same number is the same picture, byte for byte."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{place:03}_{number}.png" for place, number in enumerate(numbers)]
    for path, number in zip(paths, numbers, strict=True):
        Image.fromarray(picture(number)).save(path)
    return [str(path) for path in paths]


def read(folder: Path, numbers: list[int], store: DiskCache | None = None, classes: int = 2) -> pixels.Pixels:
    paths = photos(folder, numbers)
    labels = np.arange(len(paths), dtype=np.int32) % classes
    names = tuple(str(Path(path).relative_to(folder.parent)) for path in paths)
    given = np.full(len(paths), -1, np.int8)
    catalog = Catalog(names, tuple(paths), None, labels, tuple(f"class {i}" for i in range(classes)), given)
    return pixels.from_catalog(catalog, np.arange(len(paths)), SIZE, store)


class Counting:
    """A Function that remembers how many images it was given."""

    def __init__(self, function: InferenceFunction) -> None:
        self.function, self.images = function, 0

    def __call__(self, images: np.ndarray) -> tuple:
        self.images += len(images)
        return self.function(images)


@pytest.fixture(scope="module")
def joined():
    return build(HeadConfig(name="linear"))


def build(head: HeadConfig):
    """MobileNet with random weights, its BatchNorm calibrated: otherwise every feature fades to zero."""
    from thaw.common import backend
    from thaw.models import backbones, network

    backend.start_tensorflow(0, deterministic=True)
    built = backbones.build_backbone(BACKBONE)
    for x in built.layers:
        if hasattr(x, "moving_mean"):
            x.momentum = 0.0
    built.model([np.stack([picture(n) for n in range(100, 108)]).astype(np.float32)], training=True)
    return network.attach_head(built, head, ("a", "b"))


def parted(network, request: object):
    from thaw.models import freeze
    from thaw.models.network import cut_at, divide_network

    plan = freeze.make_plan(request, network.backbone.graph, "mobilenet", "frozen")
    return divide_network(network, plan, cut_at(network, plan.boundary))


@pytest.fixture(scope="module")
def parts(joined):
    return parted(joined, "conv_pw_3")


@pytest.fixture(scope="module")
def function(parts) -> InferenceFunction:
    return InferenceFunction(parts.frozen, "tensorflow", "float32")


@pytest.fixture
def store(tmp_path: Path) -> DiskCache:
    return DiskCache(tmp_path / "cache", 1e9)


@pytest.fixture
def frozen(parts, function) -> FrozenPart:
    return of(parts, function)


def of(parts, function: InferenceFunction, choice: EngineChoice = CHOICE) -> FrozenPart:
    return FrozenPart(parts.frozen, parts.cut, BACKBONE, choice, {(): Counting(function)})


def counted(frozen: FrozenPart) -> int:
    """Images that the frozen part ran on since the last time."""
    counting = frozen.inference_function()
    images, counting.images = counting.images, 0
    return images


def right(function: InferenceFunction, numbers: list[int]) -> tuple[np.ndarray, ...]:
    return function(np.stack([picture(n) for n in numbers]))


def assert_rows(found: tuple, expected: tuple) -> None:
    assert len(found) == len(expected)
    for y, z in zip(found, expected, strict=True):
        assert y.dtype == np.float32
        assert y.shape == z.shape
        assert np.abs(z).max() > 0.01
        assert y.tobytes() == np.ascontiguousarray(z).tobytes()


def test_what_is_kept_is_what_the_frozen_part_gives_in_the_order_asked_for(tmp_path, store, frozen, function) -> None:
    numbers = list(range(20))
    kept = frozen.cached_activations(store, read(tmp_path / "data", numbers), np.arange(20))
    assert (kept.rows.hits, kept.rows.misses, counted(frozen)) == (0, 20, 20)
    order = np.array([19, 0, 7, 7, 3])
    assert_rows(kept.take(order), right(function, order.tolist()))
    assert len({y.tobytes() for y in kept.take(np.arange(20))[0]}) == 20


def test_the_next_run_computes_nothing(tmp_path, store, parts, frozen, function) -> None:
    pictures = read(tmp_path / "data", list(range(12)))
    frozen.cached_activations(store, pictures, np.arange(12))
    never = FrozenPart(parts.frozen, parts.cut, BACKBONE, CHOICE)
    kept = never.cached_activations(DiskCache(store.folder, 1e9), pictures, np.arange(12))
    assert (kept.rows.hits, kept.rows.misses) == (12, 0)
    assert never._functions == {}, "no engine is made for what is there"
    assert_rows(kept.take(np.arange(12)), right(function, list(range(12))))


def test_cuts_of_later_stages_are_kept_on_the_way(tmp_path, store, joined, parts, function, monkeypatch) -> None:
    """One pass; what was cut earlier is there when its stage begins, to the last image."""
    monkeypatch.setattr(activations, "BATCH_SIZE", 8)
    monkeypatch.setattr(writer, "SEGMENT_BYTES", 10_000)
    pictures = read(tmp_path / "data", list(range(20)))
    end = parted(joined, "all")
    first = FrozenPart(end.frozen, end.cut, BACKBONE, CHOICE)
    later = FrozenPart(parts.frozen, parts.cut, BACKBONE, CHOICE)
    kept = first.cached_activations(store, pictures, np.arange(20), None, [later])
    assert kept.rows.misses == 20
    assert len(first._functions) == 1, "one conversion for both"
    on_the_way = later.cached_activations(store, pictures, np.arange(20))
    assert (on_the_way.rows.hits, on_the_way.rows.misses, later._functions) == (20, 0, {})
    for ours, theirs in zip(on_the_way.take(np.arange(20)), right(function, list(range(20))), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_one_changed_image_recomputes_one_row(tmp_path, store, frozen, function) -> None:
    frozen.cached_activations(store, read(tmp_path / "data", list(range(12))), np.arange(12))
    counted(frozen)
    numbers = [*range(5), 99, *range(6, 12)]
    kept = frozen.cached_activations(store, read(tmp_path / "data2", numbers), np.arange(12))
    assert (kept.rows.hits, kept.rows.misses, counted(frozen)) == (11, 1, 1)
    assert_rows(kept.take(np.arange(12)), right(function, numbers))


def test_one_changed_byte_of_a_file_recomputes_its_row(tmp_path, store, frozen) -> None:
    before = read(tmp_path / "data", [0, 1, 2])
    frozen.cached_activations(store, before, np.arange(3))
    counted(frozen)
    changed = picture(1)
    changed[0, 0, 0] ^= 1
    Image.fromarray(changed).save(before.catalog.paths[1])
    after = pixels.from_catalog(before.catalog, np.arange(3), SIZE)
    assert frozen.cached_activations(store, after, np.arange(3)).rows.misses == counted(frozen) == 1


def test_ten_more_images_compute_ten(tmp_path, store, frozen, function) -> None:
    frozen.cached_activations(store, read(tmp_path / "data", list(range(12))), np.arange(12))
    counted(frozen)
    numbers = [*range(50, 55), *range(12), *range(55, 60)]  # in front too: every index moves
    kept = frozen.cached_activations(store, read(tmp_path / "data2", numbers), np.arange(22))
    assert (kept.rows.hits, kept.rows.misses, counted(frozen)) == (12, 10, 10)
    assert_rows(kept.take(np.arange(22)), right(function, numbers))


def test_another_split_or_order_finds_all_rows(tmp_path, store, frozen, function) -> None:
    pictures = read(tmp_path / "data", list(range(20)))
    order = np.random.default_rng(0).permutation(20)
    for indices in (order[:14], order[14:]):
        frozen.cached_activations(store, pictures, indices)
    assert counted(frozen) == 20
    for indices in (np.arange(15), np.arange(15, 20), np.arange(20), order[3:9]):
        kept = frozen.cached_activations(store, pictures, indices)
        assert (kept.rows.hits, kept.rows.misses) == (len(indices), 0)
        assert_rows(kept.take(indices), right(function, indices.tolist()))
    assert counted(frozen) == 0


def test_the_same_images_elsewhere_and_of_other_classes_find_all_rows(tmp_path, store, frozen) -> None:
    """Path, names, labels, number of classes and of images do not count."""
    frozen.cached_activations(store, read(tmp_path / "here" / "data", list(range(12))), np.arange(12))
    other = read(tmp_path / "there" / "more", [77, 5, 3, 11], classes=4)
    kept = frozen.cached_activations(store, other, np.array([1, 2, 3]))
    assert (kept.rows.hits, kept.rows.misses) == (3, 0)


def test_duplicates_are_computed_once(tmp_path, store, frozen, function) -> None:
    numbers = [4, 1, 4, 2, 4, 1]
    kept = frozen.cached_activations(store, read(tmp_path / "data", numbers), np.arange(6))
    assert (kept.rows.hits, kept.rows.misses, counted(frozen)) == (3, 3, 3)
    assert_rows(kept.take(np.arange(6)), right(function, numbers))


def test_weights_behind_the_cut_do_not_count_and_those_before_it_do(tmp_path, store, joined, parts, function) -> None:
    pictures = read(tmp_path / "data", list(range(8)))
    of(parts, function).cached_activations(store, pictures, np.arange(8))
    behind = joined.backbone.model.get_layer("conv_pw_4")
    before = joined.backbone.model.get_layer("conv_pw_2_bn")
    for layer, misses in ((behind, 0), (before, 8)):
        weights = layer.get_weights()
        try:
            layer.set_weights([w + 0.01 for w in weights])
            again = of(parts, InferenceFunction(parts.frozen, "tensorflow", "float32") if misses else function)
            assert again.cached_activations(store, pictures, np.arange(8)).rows.misses == misses
        finally:
            layer.set_weights(weights)
    assert of(parts, function).cached_activations(store, pictures, np.arange(8)).rows.misses == 0


def test_a_step_of_training_behind_the_cut_keeps_every_row(tmp_path, store, joined, parts, function) -> None:
    import keras

    pictures = read(tmp_path / "data", list(range(8)))
    start = joined.model.get_weights()
    kept = of(parts, function).cached_activations(store, pictures, np.arange(8))
    try:
        parts.trained.compile(keras.optimizers.SGD(0.1), "categorical_crossentropy", jit_compile=False)
        parts.trained.train_on_batch(kept.take(np.arange(8))[0], np.eye(2, dtype=np.float32)[[0, 1] * 4])
        assert any((w != v).any() for w, v in zip(joined.model.get_weights(), start, strict=True))
        assert of(parts, function).cached_activations(store, pictures, np.arange(8)).rows.misses == 0
    finally:
        joined.model.set_weights(start)


def test_another_head_rate_or_batch_finds_all_rows(tmp_path) -> None:
    """Whole stages of a run: what a second one changes there costs no extraction."""
    from thaw.config.schema import CheckpointConfig, OptimizerConfig, TrainConfig
    from thaw.data.dataset import Dataset
    from thaw.data.splits import Splits
    from thaw.training.checkpoint import CheckpointDir
    from thaw.training.recipes import TrainingStage
    from thaw.training.stage_checkpoint import StageCheckpointer, checkpointed_variables
    from thaw.training.stages import StageInputs, plan_stages, run_stage

    pictures = read(tmp_path / "data", list(range(24)))
    order = np.random.default_rng(5).permutation(24)
    found = []
    for head, rate, batch, at in (
        (HeadConfig(name="linear"), 0.01, 4, np.arange(24)),
        (HeadConfig(name="gap_dense", hidden=8, dropout=0.5), 0.001, 16, order),
    ):
        splits = Splits(np.sort(at[:12]), np.sort(at[12:18]), np.sort(at[18:]))
        data = Dataset(pictures, splits, AugmentConfig(), seed=len(found))
        stage = TrainingStage(0, "stage", "all", "frozen", 1, 0, OptimizerConfig(name="sgd", learning_rate=rate))
        means = StageInputs(
            CHOICE, DiskCache(tmp_path / "cache", 1e9), 0, BACKBONE, TrainConfig(batch_size=batch), head
        )
        network = build(head)
        (planned,) = plan_stages([stage], network, data, means)
        saver = StageCheckpointer(
            CheckpointDir(tmp_path / "c", 2, "run"),
            CheckpointConfig(),
            0,
            checkpointed_variables(network, [planned.plan]),
            [],
            None,
            float,
        )
        result = run_stage(
            planned, network, data, means,
            checkpointer=saver, predict_splits=("val", "test"), on_start=lambda _: None, on_epoch=lambda _: None,
        )  # fmt: skip
        found.append((result.hits, result.misses))
    assert found == [(0, 24), (24, 0)]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_export_writes_what_is_taken(tmp_path, store, parts, function, monkeypatch, precision: str) -> None:
    monkeypatch.setattr(activations, "BATCH_SIZE", 4)  # the last group is not full
    indices = np.array([1, 2, 4, 5, 8, 10])
    frozen, pictures = of(parts, function, replace(CHOICE, frozen=precision)), read(tmp_path / "data", list(range(12)))
    kept = frozen.cached_activations(store, pictures, indices)
    feature_export.export_features(frozen, store, pictures, indices, None, tmp_path / "out" / "train")
    assert np.load(tmp_path / "out" / "train-indices.npy").tolist() == indices.tolist()
    for i, tensor in enumerate(kept.take(indices)):
        written = np.load(tmp_path / "out" / f"train-{i}.npy")
        assert written.dtype == np.float32
        assert written.shape == (6, *parts.cut.shapes[i])
        assert written.tobytes() == tensor.tobytes()
    expected = right(function, indices.tolist())
    for i, tensor in enumerate(expected):
        error = np.abs(np.load(tmp_path / "out" / f"train-{i}.npy") - tensor).max() / np.abs(tensor).max()
        assert (error == 0) == (precision == "float32")
        assert error < 2**-8


class Both:
    """A function of two cuts whose first comes out otherwise when the second is asked for too, as in bfloat16."""

    def __init__(self, shift: float = 0.0, ends: int = 100) -> None:
        self.shift, self.left = np.float32(shift), ends

    def __call__(self, images: np.ndarray) -> tuple:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return mean(images)[0] + self.shift, total(images)[0]

    def select_outputs(self, outputs: range) -> object:
        return (mean, total)[outputs[0]]


def mean(images: np.ndarray) -> tuple:
    return (images.mean(axis=(1, 2), dtype=np.float32),)


def total(images: np.ndarray) -> tuple:
    return (images.sum(axis=(1, 2, 3), dtype=np.float32)[:, None],)


def two_cuts(parts, both: Both) -> tuple[FrozenPart, FrozenPart]:
    from thaw.models.network import Cut

    own = FrozenPart(parts.frozen, Cut(0, ("mean",), ((3,),)), BACKBONE, CHOICE, _functions={(): mean})
    later = FrozenPart(parts.frozen, Cut(0, ("total",), ((1,),)), BACKBONE, CHOICE, _functions={(): total})
    own._functions[(later.cut.names,)] = both
    return own, later


@pytest.mark.parametrize(("shift", "shared"), [(0.0, True), (1e-3, False)])
def test_a_row_does_not_depend_on_what_else_was_wanted(tmp_path, store, parts, shift, shared) -> None:
    """What comes out differently beside another cut is computed alone."""
    pictures, indices = read(tmp_path / "data", list(range(6))), np.arange(6)
    own, later = two_cuts(parts, Both(shift))
    kept = own.cached_activations(store, pictures, indices, later_parts=[later])
    assert kept.take(indices)[0].tobytes() == mean(pictures.take(indices))[0].tobytes()
    found = later.cached_activations(store, pictures, indices)
    assert found.rows.misses == (0 if shared else 6)
    assert found.take(indices)[0].tobytes() == total(pictures.take(indices))[0].tobytes()


def test_what_a_later_stage_wants_is_kept_when_extraction_breaks_off(tmp_path, store, parts, monkeypatch) -> None:
    monkeypatch.setattr(activations, "BATCH_SIZE", 2)
    pictures, indices = read(tmp_path / "data", list(range(6))), np.arange(6)
    own, later = two_cuts(parts, Both(ends=3))  # one look whether they can be had together, then two groups
    with pytest.raises(KeyboardInterrupt):
        own.cached_activations(store, pictures, indices, later_parts=[later])
    assert later.cache_space(store, None).missing(pictures.digests(indices)) == [4, 5]


def test_what_a_later_stage_wants_is_one_file_however_long_the_extraction_takes(
    tmp_path, store, parts, monkeypatch
) -> None:
    monkeypatch.setattr(activations, "BATCH_SIZE", 2)
    seconds = count(step=60.0)  # a batch a minute: every row is a commit
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))
    pictures, indices = read(tmp_path / "data", list(range(40))), np.arange(40)
    own, later = two_cuts(parts, Both())
    own.cached_activations(store, pictures, indices, later_parts=[later])
    for part in (own, later):
        assert part.cache_space(store, None).missing(pictures.digests(indices)) == []
        assert len(list((store.folder / part.cache_space(store, None).id).glob("*.rows"))) == 1


def test_what_cannot_be_kept_for_a_later_stage_does_not_stop_this_one(tmp_path, store, parts, capsys) -> None:
    pictures, indices = read(tmp_path / "data", list(range(6))), np.arange(6)
    own, later = two_cuts(parts, Both())
    (store.folder / later.cache_space(store, None).id).parent.mkdir(exist_ok=True)
    (store.folder / later.cache_space(store, None).id).write_text("in the way")
    kept = own.cached_activations(store, pictures, indices, later_parts=[later])
    assert kept.rows.misses == 6
    assert "not cached for a later stage: the cache cannot be written to" in capsys.readouterr().out


def test_export_without_a_cache_writes_the_same(tmp_path, store, parts, function) -> None:
    frozen, pictures, indices = of(parts, function), read(tmp_path / "data", list(range(12))), np.arange(2, 9)
    for view in (None, VIEW):
        feature_export.export_features(frozen, store, pictures, indices, view, tmp_path / "kept" / "train")
        feature_export.export_features(frozen, None, pictures, indices, view, tmp_path / "live" / "train")
        for file in sorted((tmp_path / "kept").iterdir()):
            assert file.read_bytes() == (tmp_path / "live" / file.name).read_bytes()


def test_several_tensors_come_back_each_in_its_shape(tmp_path, store, joined) -> None:
    """A cut inside a block, of two or more tensors."""
    at = [parted(joined, n) for n in (14, 15)]
    parts = joined_cut(at)
    run = InferenceFunction(parts.frozen, "tensorflow", "float32")
    kept = of(parts, run).cached_activations(store, read(tmp_path / "data", list(range(6))), np.arange(6))
    order = np.array([5, 0, 3])
    assert len(parts.cut.shapes) == 2
    assert len(set(parts.cut.shapes)) == 2
    assert_rows(kept.take(order), right(run, order.tolist()))


def joined_cut(parts: list):
    """Two cuts as one: a network without branches has but one tensor at each."""
    import keras

    from thaw.models.network import Cut

    outputs = [*parts[0].frozen.outputs, keras.layers.GlobalAveragePooling2D()(parts[1].frozen.outputs[0])]
    return SimpleNamespace(
        frozen=keras.Model(parts[0].frozen.inputs, outputs),
        cut=Cut(15, ("first", "second"), tuple(tuple(y.shape[1:]) for y in outputs)),
    )


def test_views_are_augmented_images_and_each_is_kept(tmp_path, store, frozen, function) -> None:
    pictures = read(tmp_path / "data", list(range(6)))
    indices = np.arange(6)
    plain = frozen.cached_activations(store, pictures, indices)
    views = [AugmentedView(AUGMENT, 7, v) for v in (0, 1)]
    for v in views:
        kept = frozen.cached_activations(store, pictures, indices, v)
        assert kept.rows.misses == 6
        assert_rows(kept.take(indices), function(pipeline.augmented_view(pictures, indices, AUGMENT, 7, v.number)))
        assert kept.take(indices)[0].tobytes() != plain.take(indices)[0].tobytes()
    counted(frozen)
    first, second = (frozen.cached_activations(store, pictures, indices, v).take(indices)[0] for v in views)
    assert first.tobytes() != second.tobytes()
    assert counted(frozen) == 0


class Broken:
    """Pixels of which the third group cannot be had."""

    def __init__(self, pictures: pixels.Pixels, error: type[BaseException], first: int) -> None:
        self.pictures, self.error, self.first, self.decode_options = pictures, error, first, pictures.decode_options

    def digests(self, indices: np.ndarray) -> list[str]:
        return self.pictures.digests(indices)

    def take(self, indices: np.ndarray) -> np.ndarray:
        if indices[0] == self.first:
            raise self.error
        return self.pictures.take(indices)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_run_broken_off_in_the_middle_keeps_what_it_has_and_the_next_is_right(
    tmp_path, store, frozen, function, monkeypatch, error: type[BaseException]
) -> None:
    monkeypatch.setattr(activations, "BATCH_SIZE", 4)
    pictures = read(tmp_path / "data", list(range(20)))
    with pytest.raises(error):
        frozen.cached_activations(store, Broken(pictures, error, 8), np.arange(20))
    assert counted(frozen) == 8
    kept = frozen.cached_activations(store, pictures, np.arange(20))
    assert (kept.rows.hits, kept.rows.misses, counted(frozen)) == (8, 12, 12)
    assert_rows(kept.take(np.arange(20)), right(function, list(range(20))))


def test_a_damaged_row_is_computed_again(tmp_path, store, frozen, function) -> None:
    pictures = read(tmp_path / "data", list(range(8)))
    frozen.cached_activations(store, pictures, np.arange(8))
    counted(frozen)
    (data,) = store.folder.glob("*/*.rows")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    kept = frozen.cached_activations(store, pictures, np.arange(8))
    assert counted(frozen) == kept.rows.misses == 1
    assert_rows(kept.take(np.arange(8)), right(function, list(range(8))))


def test_a_budget_that_the_plan_calls_enough_is_enough(tmp_path, frozen, parts) -> None:
    """cuts.choose keeps a cut when its rows take no more than cache.max_gb; the run must not stop then."""
    exact = 8 * 4 * sum(int(np.prod(shape)) for shape in parts.cut.shapes) + cuts.INDEX_BYTES_PER_ROW * (8 + 32)
    kept = frozen.cached_activations(
        DiskCache(tmp_path / "cache", exact), read(tmp_path / "data", list(range(8))), np.arange(8)
    )
    assert kept.rows.misses == 8


TOGETHER = """
import hashlib, sys, time
from pathlib import Path
import numpy as np
from thaw.common import backend
backend.start_tensorflow(0, deterministic=True)
import keras
from thaw.common import hardware
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
pictures = pixels.from_catalog(catalog, np.arange(24), 16)
function = InferenceFunction(frozen, "tensorflow", "float32")
ran = 0
def slowly(images):
    global ran
    ran += len(images)
    time.sleep(0.1)
    return function(images)
made = activations.FrozenPart(
    frozen, Cut(1, ("conv",), ((14, 14, 4),)), BackboneConfig(name="mobilenet"),
    EngineChoice("tensorflow", "1", "float32", "float32"), {(): slowly},
)
print("ready", flush=True)
while not go.exists():
    time.sleep(0.01)
kept = made.cached_activations(DiskCache(cache, 1e9), pictures, np.arange(24))
rows = kept.take(np.arange(24))[0]
rows = rows[::-1] if backwards else rows
print("done", kept.rows.hits, kept.rows.misses, ran, hashlib.sha256(rows.tobytes()).hexdigest(), flush=True)
"""


def test_two_processes_on_one_cache_compute_each_image_once(tmp_path: Path) -> None:
    """At the same time, their images in opposite orders."""
    src = Path(__file__).parent.parent.parent / "src"
    arguments = (str(tmp_path / "cache"), str(tmp_path / "go"))
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, *arguments, backwards],
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

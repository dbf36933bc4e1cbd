"""Activations cached by image content: what is found again, and what is computed."""

from types import SimpleNamespace

import numpy as np
from PIL import Image

from thaw.cache import DiskCache
from thaw.config.schema import AugmentConfig, HeadConfig
from thaw.data import image_batches, pixels
from thaw.data.image_batches import AugmentedView
from thaw.frozen.activations import FrozenPart
from thaw.frozen.engine import InferenceFunction

from .small_network import (
    AUGMENT,
    BACKBONE,
    CHOICE,
    SIZE,
    assert_rows,
    build_network,
    computed_images,
    divide,
    expected_tensors,
    frozen_part,
    has_function,
    picture,
    read_photos,
)


def test_cached_activations_are_the_frozen_parts_outputs_in_the_requested_order(
    tmp_path, store, frozen, function
) -> None:
    numbers = list(range(20))
    kept = frozen.cached_activations(store, read_photos(tmp_path / "data", numbers), np.arange(20))
    assert (kept.rows.hits, kept.rows.misses, computed_images(frozen)) == (0, 20, 20)
    order = np.array([19, 0, 7, 7, 3])
    assert_rows(kept.take(order), expected_tensors(function, order.tolist()))
    assert len({y.tobytes() for y in kept.take(np.arange(20))[0]}) == 20


def test_the_next_run_computes_nothing(tmp_path, store, parts, frozen, function) -> None:
    pictures = read_photos(tmp_path / "data", list(range(12)))
    frozen.cached_activations(store, pictures, np.arange(12))
    never = FrozenPart(parts.frozen, parts.cut, BACKBONE, CHOICE)
    kept = never.cached_activations(DiskCache(store.folder, 1e9), pictures, np.arange(12))
    assert (kept.rows.hits, kept.rows.misses) == (12, 0)
    assert not has_function(never), "no engine is built when every row is cached"
    assert_rows(kept.take(np.arange(12)), expected_tensors(function, list(range(12))))


def test_one_changed_image_recomputes_one_row(tmp_path, store, frozen, function) -> None:
    frozen.cached_activations(store, read_photos(tmp_path / "data", list(range(12))), np.arange(12))
    computed_images(frozen)
    numbers = [*range(5), 99, *range(6, 12)]
    kept = frozen.cached_activations(store, read_photos(tmp_path / "data2", numbers), np.arange(12))
    assert (kept.rows.hits, kept.rows.misses, computed_images(frozen)) == (11, 1, 1)
    assert_rows(kept.take(np.arange(12)), expected_tensors(function, numbers))


def test_one_changed_byte_of_a_file_recomputes_its_row(tmp_path, store, frozen) -> None:
    before = read_photos(tmp_path / "data", [0, 1, 2])
    frozen.cached_activations(store, before, np.arange(3))
    computed_images(frozen)
    changed = picture(1)
    changed[0, 0, 0] ^= 1
    Image.fromarray(changed).save(before.catalog.paths[1])
    after = pixels.of_catalog(before.catalog, np.arange(3), SIZE)
    assert frozen.cached_activations(store, after, np.arange(3)).rows.misses == computed_images(frozen) == 1


def test_ten_more_images_compute_ten(tmp_path, store, frozen, function) -> None:
    frozen.cached_activations(store, read_photos(tmp_path / "data", list(range(12))), np.arange(12))
    computed_images(frozen)
    numbers = [*range(50, 55), *range(12), *range(55, 60)]  # in front too: every index moves
    kept = frozen.cached_activations(store, read_photos(tmp_path / "data2", numbers), np.arange(22))
    assert (kept.rows.hits, kept.rows.misses, computed_images(frozen)) == (12, 10, 10)
    assert_rows(kept.take(np.arange(22)), expected_tensors(function, numbers))


def test_another_split_or_order_finds_all_rows(tmp_path, store, frozen, function) -> None:
    pictures = read_photos(tmp_path / "data", list(range(20)))
    order = np.random.default_rng(0).permutation(20)
    for indices in (order[:14], order[14:]):
        frozen.cached_activations(store, pictures, indices)
    assert computed_images(frozen) == 20
    for indices in (np.arange(15), np.arange(15, 20), np.arange(20), order[3:9]):
        kept = frozen.cached_activations(store, pictures, indices)
        assert (kept.rows.hits, kept.rows.misses) == (len(indices), 0)
        assert_rows(kept.take(indices), expected_tensors(function, indices.tolist()))
    assert computed_images(frozen) == 0


def test_the_same_images_elsewhere_and_of_other_classes_find_all_rows(tmp_path, store, frozen) -> None:
    """Path, names, labels, number of classes and of images do not count."""
    frozen.cached_activations(store, read_photos(tmp_path / "here" / "data", list(range(12))), np.arange(12))
    other = read_photos(tmp_path / "there" / "more", [77, 5, 3, 11], classes=4)
    kept = frozen.cached_activations(store, other, np.array([1, 2, 3]))
    assert (kept.rows.hits, kept.rows.misses) == (3, 0)


def test_duplicates_are_computed_once(tmp_path, store, frozen, function) -> None:
    numbers = [4, 1, 4, 2, 4, 1]
    kept = frozen.cached_activations(store, read_photos(tmp_path / "data", numbers), np.arange(6))
    assert (kept.rows.hits, kept.rows.misses, computed_images(frozen)) == (3, 3, 3)
    assert_rows(kept.take(np.arange(6)), expected_tensors(function, numbers))


def test_weights_behind_the_cut_do_not_count_and_those_before_it_do(tmp_path, store, joined, parts, function) -> None:
    pictures = read_photos(tmp_path / "data", list(range(8)))
    frozen_part(parts, function).cached_activations(store, pictures, np.arange(8))
    behind = joined.backbone.model.get_layer("conv_pw_4")
    before = joined.backbone.model.get_layer("conv_pw_2_bn")
    for layer, misses in ((behind, 0), (before, 8)):
        weights = layer.get_weights()
        try:
            layer.set_weights([w + 0.01 for w in weights])
            again = frozen_part(parts, InferenceFunction(parts.frozen, "tensorflow", "float32") if misses else function)
            assert again.cached_activations(store, pictures, np.arange(8)).rows.misses == misses
        finally:
            layer.set_weights(weights)
    assert frozen_part(parts, function).cached_activations(store, pictures, np.arange(8)).rows.misses == 0


def test_a_step_of_training_behind_the_cut_keeps_every_row(tmp_path, store, joined, parts, function) -> None:
    import keras

    pictures = read_photos(tmp_path / "data", list(range(8)))
    start = joined.model.get_weights()
    kept = frozen_part(parts, function).cached_activations(store, pictures, np.arange(8))
    try:
        parts.trained.compile(keras.optimizers.SGD(0.1), "categorical_crossentropy", jit_compile=False)
        parts.trained.train_on_batch(kept.take(np.arange(8))[0], np.eye(2, dtype=np.float32)[[0, 1] * 4])
        assert any((w != v).any() for w, v in zip(joined.model.get_weights(), start, strict=True))
        assert frozen_part(parts, function).cached_activations(store, pictures, np.arange(8)).rows.misses == 0
    finally:
        joined.model.set_weights(start)


def test_another_head_rate_or_batch_finds_all_rows(tmp_path) -> None:
    """Whole stages of a run: what a second one changes there costs no extraction."""
    from thaw.config.schema import CheckpointConfig, OptimizerConfig, TrainConfig
    from thaw.data.dataset import Dataset
    from thaw.data.splits import Splits
    from thaw.training.checkpoint import CheckpointDir
    from thaw.training.checkpoint_callback import StageCheckpointer
    from thaw.training.recipes import TrainingStage
    from thaw.training.resume_state import checkpointed_variables
    from thaw.training.stage_plans import StageInputs, plan_stages
    from thaw.training.stages import run_stage

    pictures = read_photos(tmp_path / "data", list(range(24)))
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
        network = build_network(head)
        (planned,) = plan_stages([stage], network, data, means)
        variables = checkpointed_variables(network, [planned])
        saver = StageCheckpointer(CheckpointDir(tmp_path / "c", 2, "run"), CheckpointConfig(), 0, variables)
        result = run_stage(
            planned, network, data, means,
            checkpointer=saver, predict_splits=("val", "test"), on_start=lambda _: None, on_epoch=lambda _: None,
        )  # fmt: skip
        found.append((result.hits, result.misses))
    assert found == [(0, 24), (24, 0)]


def test_several_cut_tensors_keep_their_shapes(tmp_path, store, joined) -> None:
    """A cut inside a block, of two or more tensors."""
    at = [divide(joined, n) for n in (14, 15)]
    parts = merge_cuts(at)
    run = InferenceFunction(parts.frozen, "tensorflow", "float32")
    pictures = read_photos(tmp_path / "data", list(range(6)))
    kept = frozen_part(parts, run).cached_activations(store, pictures, np.arange(6))
    order = np.array([5, 0, 3])
    assert len(parts.cut.shapes) == 2
    assert len(set(parts.cut.shapes)) == 2
    assert_rows(kept.take(order), expected_tensors(run, order.tolist()))


def merge_cuts(parts: list):
    """Two cuts as one: a network without branches has but one tensor at each."""
    import keras

    from thaw.models.network import Cut

    outputs = [*parts[0].frozen.outputs, keras.layers.GlobalAveragePooling2D()(parts[1].frozen.outputs[0])]
    return SimpleNamespace(
        frozen=keras.Model(parts[0].frozen.inputs, outputs),
        cut=Cut(15, ("first", "second"), tuple(tuple(y.shape[1:]) for y in outputs)),
    )


def test_views_are_augmented_images_and_each_is_cached(tmp_path, store, frozen, function) -> None:
    pictures = read_photos(tmp_path / "data", list(range(6)))
    indices = np.arange(6)
    plain = frozen.cached_activations(store, pictures, indices)
    views = [AugmentedView(AUGMENT, 7, v) for v in (0, 1)]
    for v in views:
        kept = frozen.cached_activations(store, pictures, indices, v)
        assert kept.rows.misses == 6
        assert_rows(kept.take(indices), function(image_batches.augmented_view(pictures, indices, AUGMENT, 7, v.number)))
        assert kept.take(indices)[0].tobytes() != plain.take(indices)[0].tobytes()
    computed_images(frozen)
    first, second = (frozen.cached_activations(store, pictures, indices, v).take(indices)[0] for v in views)
    assert first.tobytes() != second.tobytes()
    assert computed_images(frozen) == 0

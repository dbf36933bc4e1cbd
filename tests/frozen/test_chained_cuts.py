"""Activations computed from those at an earlier cut: each layer runs once, and room changes no number."""

import numpy as np
import pytest
from ml_dtypes import bfloat16

from thaw.cache import DiskCache
from thaw.frozen import activations
from thaw.frozen.activations import FrozenPart, build_frozen_part, round_as_stored
from thaw.frozen.engine import EngineChoice

from .small_network import (
    BACKBONE,
    CHOICE,
    SIZE,
    VIEW,
    CountingFunction,
    assert_rows,
    computed_images,
    has_function,
    picture,
    read_photos,
    with_function,
)

CUTS = (20, 50)


def chained_parts(joined, choice: EngineChoice = CHOICE, stored_views: int | None = 0) -> list[FrozenPart]:
    """The parts up to both cuts and to the features, each computed from the one before."""
    from thaw.models.network import cut_at

    parts: list[FrozenPart] = []
    for index in (*CUTS, len(joined.backbone.layers)):
        source = parts[-1] if parts else None
        parts.append(
            build_frozen_part(joined, cut_at(joined, index), BACKBONE, choice, source, stored_views=stored_views)
        )
    return [with_function(part, CountingFunction(part.own_function)) for part in parts]


def direct_part(joined, choice: EngineChoice = CHOICE) -> FrozenPart:
    from thaw.models.network import feature_cut

    return build_frozen_part(joined, feature_cut(joined), BACKBONE, choice)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_pass_stores_the_activations_of_all_cuts_and_runs_each_layer_once(
    tmp_path, store, joined, monkeypatch, precision
) -> None:
    monkeypatch.setattr(activations, "BATCH_SIZE", 8)
    choice = EngineChoice("openvino", "1", precision, "float32")
    pictures, indices = read_photos(tmp_path / "data", list(range(20))), np.arange(20)
    parts = chained_parts(joined, choice)
    kept = parts[-1].cached_activations(store, pictures, indices)
    assert (kept.rows.hits, kept.rows.misses) == (0, 20)
    assert [computed_images(part) for part in parts] == [20, 20, 20]
    again = chained_parts(joined, choice)
    for part in again[:-1]:
        found = part.cached_activations(DiskCache(store.folder, 1e9), pictures, indices)
        assert (found.rows.hits, found.rows.misses) == (20, 0)
    assert [computed_images(part) for part in again] == [0, 0, 0]
    images = np.stack([picture(n) for n in range(20)])
    live = round_as_stored(parts[-1].inference_function(), choice)(images)
    assert_rows(kept.take(indices), live)


def test_a_part_converts_only_the_layers_behind_its_source(joined, monkeypatch) -> None:
    models = []
    monkeypatch.setattr(activations, "InferenceFunction", lambda model, *_: models.append(model) or (lambda *_: ()))
    chained_parts(joined)
    layers = [{layer.name for layer in model.layers if layer.weights} for model in models]
    assert len(layers) == 3
    assert sum(map(len, layers)) == len(set.union(*layers)) == sum(bool(x.weights) for x in joined.backbone.layers)


def test_a_tensor_that_crosses_both_cuts_passes_unchanged() -> None:
    """In a network with branches, also where the layers between do not read it."""
    import keras

    from thaw.models.network import Cut

    images = keras.Input((SIZE, SIZE, 3), name="images")
    x, y = (keras.layers.Conv2D(2, 3, name=name)(images) for name in ("left", "right"))
    z = keras.layers.ReLU(name="later")(x)
    given = np.stack([picture(n) for n in range(3)])
    for engine in ("openvino", "tensorflow"):
        choice = EngineChoice(engine, "1", "float32", "float32")
        first, second = (
            Cut(index, tuple(t.name for t in tensors), tuple(tuple(t.shape[1:]) for t in tensors), tensors)
            for index, tensors in ((2, (x, y)), (3, (y, z)))
        )
        source = FrozenPart(keras.Model([images], [x, y]), first, BACKBONE, choice)
        part = FrozenPart(keras.Model([images], [y, z]), second, BACKBONE, choice, source)
        before, after = source.inference_function()(given), part.inference_function()(given)
        assert [t.tobytes() for t in after] == [before[1].tobytes(), np.maximum(before[0], 0).tobytes()]


def test_whether_the_sources_activations_are_stored_changes_no_bit(tmp_path, joined, monkeypatch) -> None:
    pictures, indices = read_photos(tmp_path / "data", list(range(12))), np.arange(12)
    choice = EngineChoice("openvino", "1", "bfloat16", "float32")
    rows = []
    for number, stored_views in enumerate((0, None)):
        store = DiskCache(tmp_path / str(number), 1e9)
        parts = chained_parts(joined, choice, stored_views)
        rows.append(parts[-1].cached_activations(store, pictures, indices).take(indices)[0].tobytes())
        spaces = [part.cache_space(store, None).missing(pictures.digests(indices)) for part in parts]
        assert [len(missing) for missing in spaces] == ([0, 0, 0] if stored_views == 0 else [12, 12, 0])
        assert [computed_images(part) for part in parts] == [12, 12, 12]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("stored_views", [0, None])
def test_the_next_part_gets_rounded_activations_whether_they_are_stored_or_not(
    tmp_path, store, joined, stored_views
) -> None:
    """An engine may give more digits than are stored."""
    pictures, indices = read_photos(tmp_path / "data", list(range(4))), np.arange(4)
    _, second, last = chained_parts(joined, EngineChoice("openvino", "1", "bfloat16", "float32"), stored_views)
    more_digits, given = second.own_function, []
    with_function(second, lambda *inputs: tuple(y * np.float32(1.003) for y in more_digits(*inputs)))
    with_function(last, lambda x: given.append(x) or (np.zeros((len(x), 256), np.float32),))
    last.cached_activations(store, pictures, indices)
    assert given[0].tobytes() == given[0].astype(bfloat16).astype(np.float32).tobytes()
    assert np.ptp(given[0]) > 0


def test_a_source_for_which_there_is_no_room_is_computed_on_the_way(tmp_path, joined, capsys) -> None:
    pictures, indices = read_photos(tmp_path / "data", list(range(12))), np.arange(12)
    roomy, small = DiskCache(tmp_path / "a", 1e9), DiskCache(tmp_path / "b", 20_000)
    kept, without = (chained_parts(joined)[-1].cached_activations(store, pictures, indices) for store in (roomy, small))
    assert without.rows.misses == 12
    assert "not cached for a later stage: cache.max_gb=2e-05 is too small" in capsys.readouterr().out
    assert_rows(without.take(indices), kept.take(indices))


def test_rows_computed_through_a_cut_are_not_those_computed_from_the_images(tmp_path, store, joined) -> None:
    pictures, indices = read_photos(tmp_path / "data", list(range(4))), np.arange(4)
    parts = chained_parts(joined)
    parts[-1].cached_activations(store, pictures, indices)
    assert direct_part(joined).cached_activations(store, pictures, indices).rows.misses == 4
    keys = [part.cache_space(store, None).key for part in (*parts, direct_part(joined))]
    assert [key.get("from") for key in keys] == [None, [["conv_dw_3_relu"]], [["conv_dw_3_relu"], ["conv_dw_8"]], None]
    assert keys[-1] == {name: value for name, value in keys[-2].items() if name != "from"}


def test_only_the_missing_images_are_computed_at_every_cut(tmp_path, store, joined) -> None:
    pictures = read_photos(tmp_path / "data", list(range(12)))
    parts = chained_parts(joined)
    parts[-1].cached_activations(store, pictures, np.arange(8))
    parts[1].cached_activations(store, pictures, np.arange(8, 10))
    assert [computed_images(part) for part in parts] == [10, 10, 8]
    assert parts[-1].cached_activations(store, pictures, np.arange(12)).rows.misses == 4
    assert [computed_images(part) for part in parts] == [2, 2, 4]


def test_a_source_stores_only_the_views_that_its_own_stage_uses(tmp_path, store, joined) -> None:
    from dataclasses import replace

    pictures, indices = read_photos(tmp_path / "data", list(range(6))), np.arange(6)
    parts = chained_parts(joined, stored_views=1)
    for number in range(2):
        parts[-1].cached_activations(store, pictures, indices, replace(VIEW, number=number))
    digests = pictures.digests(indices)
    stored = [len(parts[0].cache_space(store, replace(VIEW, number=n)).missing(digests)) for n in range(2)]
    assert stored == [0, 6]


def test_nothing_is_converted_or_read_when_every_row_is_cached(tmp_path, store, joined) -> None:
    from thaw.models.network import cut_at, feature_cut

    pictures, indices = read_photos(tmp_path / "data", list(range(6))), np.arange(6)
    source = build_frozen_part(joined, cut_at(joined, CUTS[0]), BACKBONE, CHOICE, stored_views=0)
    build_frozen_part(joined, feature_cut(joined), BACKBONE, CHOICE, source).cached_activations(
        store, pictures, indices
    )
    empty = build_frozen_part(joined, cut_at(joined, CUTS[0]), BACKBONE, CHOICE, stored_views=0)
    again = build_frozen_part(joined, feature_cut(joined), BACKBONE, CHOICE, empty)
    assert again.cached_activations(store, pictures, indices).rows.misses == 0
    assert not has_function(empty)
    assert not has_function(again)


def test_an_interrupted_pass_keeps_what_it_computed(tmp_path, store, joined, monkeypatch) -> None:
    monkeypatch.setattr(activations, "BATCH_SIZE", 2)
    pictures, indices = read_photos(tmp_path / "data", list(range(6))), np.arange(6)
    parts = chained_parts(joined)
    whole, calls = parts[-1].own_function, []

    def interrupted(*inputs: np.ndarray) -> tuple:
        calls.append(len(inputs[0]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(*inputs)

    with_function(parts[-1], interrupted)
    with pytest.raises(KeyboardInterrupt):
        parts[-1].cached_activations(store, pictures, indices)
    assert parts[-1].cache_space(store, None).missing(pictures.digests(indices)) == [4, 5]
    with_function(parts[-1], whole)
    for part in parts:
        computed_images(part)
    assert parts[-1].cached_activations(store, pictures, indices).rows.misses == 2
    assert [computed_images(part) for part in parts] == [0, 0, 2]

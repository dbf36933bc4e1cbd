"""Activations of later stages, computed and stored on the way to those of the first one."""

import time
from itertools import count

import numpy as np
import pytest

from thaw.cache import writer
from thaw.frozen import activations
from thaw.frozen.activations import FrozenPart

from .small_network import BACKBONE, CHOICE, divide, expected_tensors, read_photos


class TwoCutFunction:
    """A function of two cuts whose first output is shifted when both are computed, as in bfloat16."""

    def __init__(self, shift: float = 0.0, calls: int = 100) -> None:
        self.shift, self.calls_left = np.float32(shift), calls

    def __call__(self, images: np.ndarray) -> tuple:
        self.calls_left -= 1
        if self.calls_left < 0:
            raise KeyboardInterrupt
        return mean(images)[0] + self.shift, total(images)[0]

    def select_outputs(self, outputs: range) -> object:
        return (mean, total)[outputs[0]]


def mean(images: np.ndarray) -> tuple:
    return (images.mean(axis=(1, 2), dtype=np.float32),)


def total(images: np.ndarray) -> tuple:
    return (images.sum(axis=(1, 2, 3), dtype=np.float32)[:, None],)


def two_cut_parts(parts, both: TwoCutFunction) -> tuple[FrozenPart, FrozenPart]:
    from thaw.models.network import Cut

    own = FrozenPart(parts.frozen, Cut(0, ("mean",), ((3,),)), BACKBONE, CHOICE, _functions={(): mean})
    later = FrozenPart(parts.frozen, Cut(0, ("total",), ((1,),)), BACKBONE, CHOICE, _functions={(): total})
    own._functions[(later.cut.names,)] = both
    return own, later


@pytest.mark.parametrize(("shift", "shared"), [(0.0, True), (1e-3, False)])
def test_a_row_does_not_depend_on_other_requested_cuts(tmp_path, store, parts, shift, shared) -> None:
    """A cut that comes out differently beside another one is computed alone."""
    pictures, indices = read_photos(tmp_path / "data", list(range(6))), np.arange(6)
    own, later = two_cut_parts(parts, TwoCutFunction(shift))
    kept = own.cached_activations(store, pictures, indices, later_parts=[later])
    assert kept.take(indices)[0].tobytes() == mean(pictures.take(indices))[0].tobytes()
    found = later.cached_activations(store, pictures, indices)
    assert found.rows.misses == (0 if shared else 6)
    assert found.take(indices)[0].tobytes() == total(pictures.take(indices))[0].tobytes()


def test_activations_of_later_stages_are_cached_on_the_way(
    tmp_path, store, joined, parts, function, monkeypatch
) -> None:
    """One pass computes both; the later stage finds the activations of all images."""
    monkeypatch.setattr(activations, "BATCH_SIZE", 8)
    monkeypatch.setattr(writer, "SEGMENT_BYTES", 10_000)
    pictures = read_photos(tmp_path / "data", list(range(20)))
    end = divide(joined, "all")
    first = FrozenPart(end.frozen, end.cut, BACKBONE, CHOICE)
    later = FrozenPart(parts.frozen, parts.cut, BACKBONE, CHOICE)
    kept = first.cached_activations(store, pictures, np.arange(20), None, [later])
    assert kept.rows.misses == 20
    assert len(first._functions) == 1, "one conversion for both"
    on_the_way = later.cached_activations(store, pictures, np.arange(20))
    assert (on_the_way.rows.hits, on_the_way.rows.misses, later._functions) == (20, 0, {})
    for ours, theirs in zip(on_the_way.take(np.arange(20)), expected_tensors(function, list(range(20))), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_later_activations_are_cached_when_extraction_is_interrupted(tmp_path, store, parts, monkeypatch) -> None:
    monkeypatch.setattr(activations, "BATCH_SIZE", 2)
    pictures, indices = read_photos(tmp_path / "data", list(range(6))), np.arange(6)
    own, later = two_cut_parts(parts, TwoCutFunction(calls=3))  # the comparison with each cut alone, then two groups
    with pytest.raises(KeyboardInterrupt):
        own.cached_activations(store, pictures, indices, later_parts=[later])
    assert later.cache_space(store, None).missing(pictures.digests(indices)) == [4, 5]


def test_later_activations_are_one_file_however_long_the_extraction_takes(tmp_path, store, parts, monkeypatch) -> None:
    monkeypatch.setattr(activations, "BATCH_SIZE", 2)
    seconds = count(step=60.0)  # a batch a minute: every row is a commit
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))
    pictures, indices = read_photos(tmp_path / "data", list(range(40))), np.arange(40)
    own, later = two_cut_parts(parts, TwoCutFunction())
    own.cached_activations(store, pictures, indices, later_parts=[later])
    for part in (own, later):
        assert part.cache_space(store, None).missing(pictures.digests(indices)) == []
        assert len(list((store.folder / part.cache_space(store, None).id).glob("*.rows"))) == 1


def test_a_failed_write_for_a_later_stage_does_not_stop_this_one(tmp_path, store, parts, capsys) -> None:
    pictures, indices = read_photos(tmp_path / "data", list(range(6))), np.arange(6)
    own, later = two_cut_parts(parts, TwoCutFunction())
    (store.folder / later.cache_space(store, None).id).parent.mkdir(exist_ok=True)
    (store.folder / later.cache_space(store, None).id).write_text("in the way")
    kept = own.cached_activations(store, pictures, indices, later_parts=[later])
    assert kept.rows.misses == 6
    assert "not cached for a later stage: the cache cannot be written to" in capsys.readouterr().out

"""What is done to batches of activations: mirrored, moved and mixed, by numbers that need no memory."""

import numpy as np
import pytest

from thaw.config.schema import AugmentConfig
from thaw.training.changed_batches import ChangedBatches, mix, moved

RNG = np.random.default_rng


class Maps:
    """Batches of four images, each with a map of 8x8 and one of 4x4 that shows the same, and two classes."""

    def __len__(self) -> int:
        return 3

    def rows(self, epoch: int, i: int):
        return np.arange(4) + 4 * i

    def batch(self, epoch: int, i: int):
        fine = np.arange(4 * 64, dtype=np.float32).reshape(4, 8, 8, 1) + 1000 * i
        return (fine, fine[:, ::2, ::2]), np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]


def changed(seed: int = 0, stage: int = 1, **augment) -> ChangedBatches:
    return ChangedBatches(Maps(), AugmentConfig(place="activations", **augment), seed, stage)


def test_a_mirrored_image_is_mirrored_in_all_of_its_maps() -> None:
    (fine, coarse), targets = changed(flip=True).batch(0, 0)
    (whole, small), same = Maps().batch(0, 0)
    mirrored = [not np.array_equal(a, b) for a, b in zip(fine, whole, strict=True)]
    assert 0 < sum(mirrored) < 4, "this seed must have both"
    for i, mirror in enumerate(mirrored):
        np.testing.assert_array_equal(fine[i], whole[i, :, ::-1] if mirror else whole[i])
        np.testing.assert_array_equal(coarse[i], small[i, :, ::-1] if mirror else small[i])
    np.testing.assert_array_equal(targets, same)


def test_a_shift_moves_maps_by_their_share_and_reflects_edges() -> None:
    maps = np.arange(8, dtype=np.float32)[None, :, None, None] + np.zeros((200, 8, 8, 1), np.float32)
    (found,) = moved((maps,), False, 0.25, RNG(0))
    columns = {tuple(image[:, 0, 0]) for image in found}
    assert tuple(range(8)) in columns
    assert (2, 1, 0, 1, 2, 3, 4, 5) in columns  # down by two
    assert (2, 3, 4, 5, 6, 7, 6, 5) in columns  # up by two
    assert len(columns) == 5


def test_pooled_features_have_no_positions() -> None:
    features = RNG(0).normal(size=(4, 10))
    assert moved((features,), True, 0.5, RNG(0))[0] is features


def test_mixing_is_one_proportion_for_inputs_and_targets_with_the_larger_share_the_images_own() -> None:
    inputs, targets = np.arange(6, dtype=np.float16).reshape(6, 1), np.eye(6, dtype=np.float32)
    for seed in range(20):
        x, y = mix([inputs, targets], 0.4, RNG(seed))
        assert (x.dtype, y.dtype) == (np.float32, np.float32)
        np.testing.assert_allclose(x[:, 0], y @ np.arange(6), rtol=1e-6)
        np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
        assert (np.diag(y) >= 0.5).all()


def test_a_batch_depends_on_seed_stage_epoch_and_number_alone() -> None:
    options = {"flip": True, "shift": 0.3, "mixup": 0.2}
    (first, _), targets = changed(**options).batch(2, 1)
    batches = changed(**options)
    batches.batch(0, 0)
    (again, _), same = batches.batch(2, 1)
    assert (again.tobytes(), same.tobytes()) == (first.tobytes(), targets.tobytes())
    others = [
        changed(**options).batch(3, 1), changed(1, **options).batch(2, 1), changed(0, 2, **options).batch(2, 1),
    ]  # fmt: skip
    assert len({other[0][0].tobytes() for other in others} | {first.tobytes()}) == 4


@pytest.mark.parametrize("place", ["images", "activations"])
def test_mixup_alone_moves_nothing(place: str) -> None:
    batches = ChangedBatches(Maps(), AugmentConfig(place=place, mixup=1e-9), 0, 0)
    (fine, _), _ = batches.batch(0, 0)
    np.testing.assert_allclose(fine, Maps().batch(0, 0)[0][0])

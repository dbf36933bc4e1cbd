"""What is done to batches of activations: mirrored, moved and mixed, by numbers that need no memory."""

import numpy as np
import pytest

from thaw.config.schema import AugmentConfig
from thaw.training.changed_batches import ChangedBatches, cut_and_mix, enlarged, mix, moved, noisy

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
    options = {"flip": True, "shift": 0.3, "crop": 0.6, "erase": 0.5, "noise": 0.2, "mixup": 0.2, "cutmix": 1.0}
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


def test_an_enlarged_part_is_what_bilinear_interpolation_gives() -> None:
    slope = np.arange(8, dtype=np.float32)[:, None, None] + np.zeros((8, 8, 1), np.float32)  # the row's number
    half = enlarged(slope, (0.25, 0.0, 0.5, 1.0))  # rows 2 to 6 of 8 as eight rows: their centres half a row apart
    np.testing.assert_allclose(half[:, 0, 0], [1.75, 2.25, 2.75, 3.25, 3.75, 4.25, 4.75, 5.25])
    np.testing.assert_array_equal(enlarged(slope, (0.0, 0.0, 1.0, 1.0)), slope)
    whole = enlarged(slope.transpose(1, 0, 2), (0.0, 0.25, 1.0, 0.5))
    np.testing.assert_allclose(whole[0, :, 0], half[:, 0, 0], err_msg="columns as rows")


def test_a_crop_is_the_same_part_of_all_maps_of_an_image() -> None:
    rows = np.linspace(0.5, 15.5, 16, dtype=np.float32)
    fine = np.broadcast_to(rows[None, :, None, None], (4, 16, 16, 1))

    class Slopes(Maps):
        def batch(self, epoch: int, i: int):
            return (fine, fine.reshape(4, 8, 2, 8, 2, 1).mean(axis=(2, 4))), np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]

    batches = ChangedBatches(Slopes(), AugmentConfig(place="activations", crop=0.5), 0, 1)
    (cropped, coarse), _ = batches.batch(0, 0)
    assert not np.array_equal(cropped, fine)
    inner = slice(4, -4)  # off the edges, where positions are clipped
    halved = cropped.reshape(4, 8, 2, 16).mean(axis=(2, 3))
    np.testing.assert_allclose(coarse[:, :, 0, 0][:, 2:-2], halved[:, 2:-2], atol=0.3)
    spans = cropped[:, inner, 0, 0].max(axis=1) - cropped[:, inner, 0, 0].min(axis=1)
    assert (spans <= 7.001).all()
    assert (spans < 6.5).any(), "an enlarged part spans less"


def test_an_erased_part_is_zero_in_some_images_and_the_rest_stays() -> None:
    (fine, coarse), targets = changed(erase=0.5).batch(0, 0)
    (whole, small), same = Maps().batch(0, 0)
    parts = [(a != b).mean() for a, b in zip(fine, whole, strict=True)]
    assert 0 < sum(part > 0 for part in parts) < 4, "this seed must have both"
    assert all(part <= 0.34 + 0.1 for part in parts)
    for found, before in ((fine, whole), (coarse, small)):
        assert (found[found != before] == 0).all()
    np.testing.assert_array_equal(targets, same)


def test_noise_is_a_share_of_each_channels_deviation() -> None:
    maps = RNG(0).normal(size=(64, 8, 8, 2)).astype(np.float32) * np.float32([1, 10])
    added = noisy(maps, 0.1, RNG(1)) - maps
    np.testing.assert_allclose(added.std(axis=(0, 1, 2)), [0.1, 1.0], rtol=0.05)
    features = RNG(0).normal(size=(64, 5)).astype(np.float16)
    assert noisy(features, 0.1, RNG(1)).dtype == np.float16


def test_cutmix_puts_a_rectangle_of_another_image_in_and_targets_have_its_share() -> None:
    maps = np.broadcast_to(np.arange(6, dtype=np.float32)[:, None, None, None], (6, 10, 10, 1))
    targets = np.eye(6, dtype=np.float32)
    for seed in range(20):
        (found,), mixed = cut_and_mix((maps,), targets, 1.0, RNG(seed))
        np.testing.assert_allclose(found.mean(axis=(1, 2, 3)), mixed @ np.arange(6), rtol=1e-5)
        np.testing.assert_allclose(mixed.sum(axis=1), 1, rtol=1e-6)
        assert (np.diag(mixed) >= 0.45).all()


def test_features_without_positions_are_not_cut_and_of_both_mixtures_a_batch_has_one() -> None:
    class Features(Maps):
        def batch(self, epoch: int, i: int):
            return np.arange(8, dtype=np.float32).reshape(4, 2), np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]

    features, targets = ChangedBatches(Features(), AugmentConfig(cutmix=1.0), 0, 1).batch(0, 0)
    np.testing.assert_array_equal(features, Features().batch(0, 0)[0])
    np.testing.assert_array_equal(targets, Features().batch(0, 0)[1])

    def kind(epoch: int) -> str:
        (fine, _), _ = changed(mixup=1.0, cutmix=1.0).batch(epoch, 0)
        whole = Maps().batch(0, 0)[0][0]
        own = np.isin(fine, whole).mean()
        return "cut" if own == 1 else "mixed"

    assert {kind(epoch) for epoch in range(12)} == {"cut", "mixed"}

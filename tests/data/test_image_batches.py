import numpy as np
import pytest

from thaw.config.schema import AugmentConfig
from thaw.data import pixels
from thaw.data.augment import augment_image
from thaw.data.decode import resize
from thaw.data.image_batches import ImageBatches, augmented_view
from thaw.data.seeds import digest_counters, rng_for

from .catalogs import catalog_of_arrays
from .pictures import noise

ARRAYS = np.stack([np.asarray(noise(8, 8, seed)) for seed in range(20)])
LABELS = (np.arange(20) % 3).astype(np.int32)
INDICES = np.arange(3, 20)


def batches(image_size=8, **changes):
    read = pixels.of_catalog(catalog_of_arrays(ARRAYS), np.arange(20), image_size)
    return ImageBatches(read, LABELS, 3, INDICES, **{"batch_size": 5, **changes})


def test_the_last_batch_holds_what_is_left():
    sizes = [len(batches().batch(0, i)[0]) for i in range(len(batches()))]
    assert sizes == [5, 5, 5, 2]
    with pytest.raises(IndexError):
        batches().batch(0, 4)


def test_images_and_targets_belong_together():
    images, targets = batches().batch(0, 1)
    assert images.dtype == np.uint8
    assert targets.dtype == np.float32
    assert np.array_equal(images, ARRAYS[8:13])
    assert np.array_equal(targets, np.eye(3)[LABELS[8:13]])


def test_without_shuffling_every_epoch_has_the_given_order():
    assert np.concatenate([batches().rows(7, i) for i in range(4)]).tolist() == INDICES.tolist()


def epoch_order(epoch, **changes):
    shuffled = batches(shuffle=True, **changes)
    return np.concatenate([shuffled.rows(epoch, i) for i in range(4)]).tolist()


def test_shuffling_shows_every_image_once_in_an_order_of_each_epoch_and_stage():
    orders = [epoch_order(0), epoch_order(1), epoch_order(0, stage=1), epoch_order(0, seed=1)]
    assert all(sorted(order) == INDICES.tolist() for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_any_batch_can_be_computed_alone():
    options = {"shuffle": True, "augmentation": AugmentConfig(flip=True, shift=0.2, ops=2), "image_size": 12}
    whole = batches(**options)
    everything = {(epoch, i): whole.batch(epoch, i) for epoch in range(3) for i in range(4)}
    for epoch_and_batch in [(2, 3), (0, 1), (1, 0)]:
        for alone, before in zip(batches(**options).batch(*epoch_and_batch), everything[epoch_and_batch], strict=True):
            assert np.array_equal(alone, before)


def test_an_image_changes_differently_in_each_epoch_and_stage():
    config = AugmentConfig(flip=True, shift=0.4, ops=2)
    seen = [batches(augmentation=config, stage=stage).batch(epoch, 0)[0] for stage in (0, 1) for epoch in (0, 1)]
    assert len({images.tobytes() for images in seen}) == 4


def changed_by_name(order, **changes):
    """Every image as a batch shows it, by its bytes, of a catalog in another order or with others in it."""
    read = pixels.of_catalog(catalog_of_arrays(ARRAYS[order]), np.arange(len(order)), 8)
    labels = np.zeros(len(order), np.int32)
    options = {"batch_size": 3, "augmentation": AugmentConfig(flip=True, shift=0.4, ops=2), "seed": 5, "stage": 2}
    shown_batches = ImageBatches(read, labels, 3, np.arange(len(order)), **{**options, **changes})
    shown = np.concatenate([shown_batches.batch(4, i)[0] for i in range(len(shown_batches))])
    return {ARRAYS[image].tobytes(): shown[row] for row, image in enumerate(order)}


def test_an_images_change_depends_on_its_content_and_not_on_its_place_or_on_the_others():
    few, more = changed_by_name([3, 7, 5]), changed_by_name([9, 5, 2, 7, 0, 3], batch_size=4)
    assert all(np.array_equal(few[image], more[image]) for image in few)
    digest = pixels.of_catalog(catalog_of_arrays(ARRAYS), np.array([7]), 8).sha256[0]
    rng = rng_for(5, "augment", 2, 4, *digest_counters(digest))
    config = AugmentConfig(flip=True, shift=0.4, ops=2)
    assert np.array_equal(few[ARRAYS[7].tobytes()], augment_image(ARRAYS[7], config, rng))


def test_a_view_is_the_same_in_any_catalog_and_every_view_is_another():
    config = AugmentConfig(flip=True, shift=0.4, ops=2)
    read = pixels.of_catalog(catalog_of_arrays(ARRAYS), np.arange(20), 12)
    other = pixels.of_catalog(catalog_of_arrays(ARRAYS[[8, 4]]), np.arange(2), 12)
    once = augmented_view(read, np.array([4, 8]), config, 1, 3)
    assert once.shape == (2, 12, 12, 3)
    assert np.array_equal(once, augmented_view(other, np.array([1, 0]), config, 1, 3))
    others = [augmented_view(read, np.array([4, 8]), config, seed, v) for seed, v in [(1, 3), (1, 0), (1, 4), (2, 3)]]
    assert len({images.tobytes() for images in others}) == 4


def test_changing_images_leaves_the_pixels_alone():
    read = pixels.of_catalog(catalog_of_arrays(ARRAYS), np.arange(20), 8)
    before = read.take(np.arange(20))
    for v in range(3):
        augmented_view(read, np.arange(20), AugmentConfig(flip=True, shift=0.4, ops=2), 0, v)
    assert np.array_equal(read.take(np.arange(20)), before)


def test_small_images_are_enlarged_bilinearly():
    images, _ = batches(image_size=20).batch(0, 0)
    assert images.shape == (5, 20, 20, 3)
    assert np.array_equal(images[0], np.asarray(resize(noise(8, 8, 3), (20, 20))))

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from thaw.config.schema import AugmentConfig
from thaw.data import pixels
from thaw.data.class_balance import prior_occurrences, sample_balanced
from thaw.data.image_batches import ImageBatches

from .catalogs import catalog_of_arrays
from .pictures import noise

ARRAYS = np.stack([np.asarray(noise(8, 8, seed)) for seed in range(12)])
LABELS = np.array([0] * 9 + [1] * 2 + [2], np.int32)
FEW = settings(max_examples=60, deadline=None, derandomize=True)


@FEW
@given(st.lists(st.integers(1, 60), min_size=2, max_size=6), st.integers(0, 1000))
def test_classes_and_their_images_come_equally_often(counts, seed):
    labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    indices = np.arange(len(labels)) * 3 + 5
    drawn = sample_balanced(indices, labels, np.random.default_rng(seed))
    assert len(drawn) == len(indices)
    times = np.array([(drawn == index).sum() for index in indices])
    assert times.sum() == len(drawn)
    a_class = np.bincount(labels, weights=times)
    assert np.ptp(a_class) <= 1
    assert all(np.ptp(times[labels == label]) <= 1 for label in range(len(counts)))


@FEW
@given(st.lists(st.integers(0, 5)))
def test_repeats_counts_what_came_before(drawn):
    assert prior_occurrences(np.array(drawn, np.int64)).tolist() == [drawn[:i].count(x) for i, x in enumerate(drawn)]


def batches(**changes):
    read = pixels.of_catalog(catalog_of_arrays(ARRAYS), np.arange(12), 8)
    return ImageBatches(
        read, LABELS, 3, np.arange(12), **{"batch_size": 5, "shuffle": True, "balanced": True, **changes}
    )


def order(epoch, **changes):
    epochs = batches(**changes)
    return np.concatenate([epochs.rows(epoch, i) for i in range(len(epochs))]).tolist()


def test_an_epoch_draws_by_seed_stage_and_epoch_and_by_nothing_else():
    orders = [order(0), order(1), order(0, stage=1), order(0, seed=1)]
    assert len({tuple(order) for order in orders}) == 4
    whole = batches()
    for epoch, i in [(2, 1), (0, 2), (1, 0)]:
        assert np.array_equal(whole.rows(epoch, i), batches().rows(epoch, i))


def test_of_a_frequent_class_every_image_has_its_turn():
    assert {row for epoch in range(10) for row in order(epoch)} == set(range(12))


def test_an_image_that_repeats_within_an_epoch_is_changed_anew():
    augmented = batches(batch_size=12, augmentation=AugmentConfig(flip=True, shift=0.4, ops=2))
    rows, (images, _) = augmented.rows(0, 0), augmented.batch(0, 0)
    rare = images[rows == 11]
    assert len(rare) == 4
    assert len({image.tobytes() for image in rare}) == 4
    # The first time it is what it would be without repeats.
    plain = batches(batch_size=12, balanced=False, augmentation=augmented.augmentation)
    assert np.array_equal(rare[0], plain.batch(0, 0)[0][plain.rows(0, 0) == 11][0])

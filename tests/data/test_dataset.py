import numpy as np
import pytest

from thaw.config.schema import AugmentConfig, TrainConfig
from thaw.data import pixels
from thaw.data.catalog import Catalog
from thaw.data.dataset import Dataset
from thaw.data.splits import Splits


@pytest.fixture
def unequal() -> Dataset:
    """Of the first class 6 training images, of the second 2, named so that no terminal shows it."""
    labels = np.array([0] * 6 + [1] * 2 + [0, 1, 0, 1], np.int32)
    arrays = np.zeros((12, 4, 4, 3), np.uint8)
    catalog = Catalog(tuple(map(str, range(12))), None, arrays, labels, ("a", "b\udce9"), np.full(12, -1, np.int8))
    splits = Splits(np.arange(8), np.arange(8, 10), np.arange(10, 12))
    return Dataset(pixels.of_catalog(catalog, splits.all_indices(), 4), splits, AugmentConfig(), 0)


def test_balanced_weights_make_classes_equal(unequal) -> None:
    assert unequal.class_weight("none") is None
    assert unequal.class_weight("balanced") == {0: 8 / (2 * 6), 1: 8 / (2 * 2)}


def test_balanced_sampling_shows_each_class_as_often_in_training_alone(unequal) -> None:
    train = unequal.image_batches("train", 8, training=True, sampling="balanced").batch(0, 0)[1]
    assert train.sum(axis=0).tolist() == [4, 4]
    whole = unequal.image_batches("train", 8, sampling="balanced").batch(0, 0)[1]
    assert whole.sum(axis=0).tolist() == [6, 2]


def test_unequal_classes_are_told_with_what_helps(unequal) -> None:
    line = unequal.describe_imbalance(TrainConfig())
    assert line.startswith("classes are unequal: 2 (b\\udce9) to 6 (a) training images, 3.0 times as many")
    assert line.endswith("train.class_weight=balanced or train.sampling=balanced helps")
    assert unequal.describe_imbalance(TrainConfig(sampling="balanced")).endswith(
        "made up for by train.sampling=balanced"
    )


def test_of_nearly_equal_classes_nothing_is_said(unequal) -> None:
    equal = Dataset(unequal.pixels, Splits(np.arange(4, 8), *[np.arange(8, 10)] * 2), AugmentConfig(), 0)
    assert equal.describe_imbalance(TrainConfig()) == ""

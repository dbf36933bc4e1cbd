import numpy as np
import pytest

from thaw.common.errors import UserError
from thaw.config.schema import DatasetConfig
from thaw.data import digits
from thaw.data.catalog import UNASSIGNED


def test_digits_use_the_whole_range_of_grey():
    catalog = digits.load_catalog(DatasetConfig(name="digits"))
    assert catalog.arrays.shape == (1797, 8, 8, 3)
    assert catalog.arrays.dtype == np.uint8
    assert (catalog.arrays.min(), catalog.arrays.max()) == (0, 255)
    assert np.array_equal(catalog.arrays[..., 0], catalog.arrays[..., 2])
    assert catalog.names[12] == "digits/0012"
    assert catalog.labels[:10].tolist() == list(range(10))  # the first ten are written in order
    assert set(catalog.assigned_splits.tolist()) == {UNASSIGNED}


def test_a_path_that_would_be_ignored_is_refused():
    with pytest.raises(UserError, match="dataset=image_folder"):
        digits.load_catalog(DatasetConfig(name="digits", path="photos"))

import numpy as np
import pytest

from thaw.data.catalog import Catalog


def catalog(n, **changes):
    parts = {
        "names": tuple(map(str, range(n))),
        "paths": None,
        "arrays": np.zeros((n, 2, 2, 3), np.uint8),
        "labels": np.zeros(n, np.int32),
        "class_names": ("a",),
        "given": np.zeros(n, np.int8),
    }
    return Catalog(**{**parts, **changes})


def test_a_catalog_is_as_long_as_its_images():
    assert len(catalog(3)) == 3


@pytest.mark.parametrize("changes", [{"paths": ("a", "b")}, {"arrays": None}, {"names": ("a",)}, {"groups": ("a",)}])
def test_a_catalog_that_contradicts_itself_cannot_be_made(changes):
    with pytest.raises(ValueError, match=r"either paths or arrays|differ in length"):
        catalog(2, **changes)

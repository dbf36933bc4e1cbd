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
        "assigned_splits": np.zeros(n, np.int8),
    }
    return Catalog(**{**parts, **changes})


def test_a_part_keeps_every_images_own():
    whole = catalog(4, labels=np.array([0, 0, 1, 1], np.int32), class_names=("a", "b"), groups=tuple("wxyz"))
    part = whole.subset(np.array([1, 3]))
    assert (part.names, part.groups, part.labels.tolist()) == (("1", "3"), ("x", "z"), [0, 1])
    assert len(part.arrays) == len(part.assigned_splits) == 2
    assert part.class_names == ("a", "b")


def test_a_run_uses_at_most_its_limit_in_each_split():
    whole = catalog(20, class_names=("a", "b"))
    assert [whole.max_usable_images(limit) for limit in (None, 1, 3, 100)] == [20, 6, 18, 20]


def test_a_catalog_is_as_long_as_its_images():
    assert len(catalog(3)) == 3


@pytest.mark.parametrize("changes", [{"paths": ("a", "b")}, {"arrays": None}, {"names": ("a",)}, {"groups": ("a",)}])
def test_a_catalog_that_contradicts_itself_cannot_be_made(changes):
    with pytest.raises(ValueError, match=r"either paths or arrays|differ in length"):
        catalog(2, **changes)

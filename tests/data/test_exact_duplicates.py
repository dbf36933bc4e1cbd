import numpy as np

from thaw.data.catalog import TEST, TRAIN, UNASSIGNED, VAL, Catalog
from thaw.data.exact_duplicates import duplicate_warnings


def catalog(*images):
    """Images as (name, label, assigned)."""
    names, labels, assigned = zip(*images, strict=True)
    return Catalog(
        names,
        tuple(f"/{name}" for name in names),
        None,
        np.array(labels, np.int32),
        ("cat", "dog"),
        np.array(assigned, np.int8),
    )


def test_equal_images_of_one_class_that_nobody_gave_to_a_split_are_no_trouble():
    assert (
        duplicate_warnings(catalog(("a", 0, UNASSIGNED), ("b", 0, UNASSIGNED), ("c", 1, UNASSIGNED)), ["x", "x", "y"])
        == []
    )
    assert duplicate_warnings(catalog(("a", 0, TRAIN), ("b", 0, TRAIN), ("c", 1, TEST)), ["x", "x", "y"]) == []


def test_an_unknown_hash_equals_no_other():
    assert duplicate_warnings(catalog(("a", 0, TRAIN), ("b", 1, TEST)), ["", ""]) == []


def test_images_with_two_labels_are_counted_and_named():
    images = [(f"{name}{i}", label, UNASSIGNED) for i in range(5) for label, name in enumerate(("cat/", "dog/"))]
    (line,) = duplicate_warnings(catalog(*images), [str(i // 2) for i in range(10)])
    assert line.startswith(
        "warning: 5 images have two labels or more: cat/0 = dog/0, cat/1 = dog/1, cat/2 = dog/2, ..."
    )


def test_test_and_validation_images_that_are_also_in_train_are_a_leak():
    images = [("test/1", 0, TEST), ("test/2", 0, TEST), ("train/1", 0, TRAIN), ("train/2", 0, TRAIN), ("val/1", 0, VAL)]
    lines = duplicate_warnings(catalog(*images), ["x", "x", "x", "y", "y"])
    assert lines == [
        "warning: 2 test images are also in train: test/1 = train/1, test/2 = train/1. "
        "Figures on them are too good; take them out",
        "warning: 1 validation images are also in train: val/1 = train/2. Figures on them are too good; take them out",
    ]


def test_a_name_that_no_terminal_shows_is_escaped():
    (line,) = duplicate_warnings(catalog(("train/a\n", 0, TRAIN), ("test/\udce9ü", 0, TEST)), ["x", "x"])
    assert line.isprintable()
    assert r"test/\udce9ü = train/a\n" in line

import numpy as np
import pandas as pd
import pytest

from thaw.common.errors import UserError
from thaw.serve.picture_batch import pictures_of

PIXELS = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)

SEVERAL = {
    "list of texts": ["a.jpg", "b.jpg"],
    "tuple": ("a.jpg", "b.jpg"),
    "array of texts": np.array(["a.jpg", "b.jpg"]),
    "array of objects": np.array(["a.jpg", "b.jpg"], object),
    "column": pd.Series(["a.jpg", "b.jpg"], index=[7, 9]),
    "table of one column": pd.DataFrame({"file": ["a.jpg", "b.jpg"]}),
    "table": pd.DataFrame({"id": [1, 2], "image": ["a.jpg", "b.jpg"]}),
    "mapping": {"image": ["a.jpg", "b.jpg"]},
    "mapping of an array": {"image": np.array(["a.jpg", "b.jpg"])},
}


@pytest.mark.parametrize("form", SEVERAL)
def test_several_pictures_come_as_lists_columns_tables_and_arrays(form):
    assert pictures_of(SEVERAL[form]) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("value", ["a.jpg", b"bytes", np.array("a.jpg")], ids=type)
def test_one_picture_needs_no_list(value):
    assert pictures_of(value) == [value]


def test_arrays_are_one_picture_or_a_batch_by_their_dimensions():
    (one,) = pictures_of(PIXELS)
    assert np.array_equal(one, PIXELS)
    (grey,) = pictures_of(PIXELS[..., 0])
    assert np.array_equal(grey, PIXELS[..., 0])
    batch = pictures_of(np.stack([PIXELS, PIXELS + 100]))
    assert [picture.tolist() for picture in batch] == [PIXELS.tolist(), (PIXELS + 100).tolist()]


def test_arrays_of_unequal_sizes_come_in_a_list():
    other = np.zeros((5, 6, 3), np.uint8)
    pictures = pictures_of([PIXELS, other])
    assert [picture.shape for picture in pictures] == [(2, 4, 3), (5, 6, 3)]


def test_nested_numbers_of_json_are_pixels():
    for data in (PIXELS.tolist(), np.array(PIXELS.tolist()), pd.DataFrame({"image": [PIXELS.tolist()]})):
        (picture,) = pictures_of(data)
        assert picture.dtype == np.uint8
        assert np.array_equal(picture, PIXELS)
    assert len(pictures_of([PIXELS.tolist(), PIXELS.tolist()])) == 2


def test_numbers_beyond_a_byte_stay_as_they_are_to_be_refused():
    (picture,) = pictures_of(np.full((2, 2, 3), 256))
    assert picture.dtype != np.uint8


def test_a_table_without_the_column_is_refused_by_name():
    with pytest.raises(UserError, match="no column 'image' among id, picture"):
        pictures_of(pd.DataFrame({"id": [1], "picture": ["a.jpg"]}))


OTHER = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)


@pytest.mark.parametrize("wrap", [list, lambda items: {"image": items}, lambda items: pd.Series(items, dtype=object)])
@pytest.mark.parametrize("second", ["good.jpg", OTHER.tolist(), OTHER, b"bytes", OTHER[..., 0].tolist()], ids=type)
def test_nested_numbers_beside_other_pictures_are_each_a_picture_in_either_order(second, wrap):
    for items in ([PIXELS.tolist(), second], [second, PIXELS.tolist()]):
        read = pictures_of(wrap(items))
        expected = [np.array(item, np.uint8) if isinstance(item, list) else item for item in items]
        assert [type(picture) for picture in read] == [type(item) for item in expected]
        assert all(np.array_equal(one, other) for one, other in zip(read, expected, strict=True))


@pytest.mark.parametrize(
    ("data", "number"),
    [
        ([[1, 2], [3]], 0),
        ([[[1, 2, 3], [4, 5, 6]], [[1, 2, 3]]], 0),
        ([PIXELS.tolist(), [[1, 2], [3]]], 1),
        (["good.jpg", [[1, 2], [3]]], 1),
        ([PIXELS.tolist(), [[1, "a.jpg"]]], 1),
    ],
)
def test_rows_of_unequal_length_are_refused_by_the_pictures_number(data, number):
    with pytest.raises(UserError, match=f"picture {number}: nested lists are"):
        pictures_of(data)

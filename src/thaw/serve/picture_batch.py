"""What MLflow hands to a model, as a list of pictures: tables, columns, arrays, lists and single values."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.common.errors import UserError, joined

COLUMN = "image"  # of a table with more than one column
_UNEQUAL = "picture {}: nested lists are the pixels of a picture only if they hold numbers, and as many in every row"


def pictures_of(data: Any) -> list[Any]:
    """Return the pictures in `data`, each as `data.picture_input.pixels_of` takes it.

    Args:
        data: a picture (path, bytes, base64 text, array, Pillow image); a list, a column or an array of these; a table
            with one column or with the column `image`; a mapping with the key `image`. An array of numbers is one
            picture, (H, W) or (H, W, 1, 3 or 4), or a batch, (N, H, W, 1, 3 or 4). Nested lists of whole numbers, which
            is how JSON has pixels, are such an array.

    Raises:
        UserError: there is no such column, or nested lists are no array.
    """
    if isinstance(data, Mapping):
        return pictures_of(_column(data, list(data)))
    if hasattr(data, "columns"):  # a table of pandas
        return pictures_of(list(_column(data, list(data.columns))))
    if isinstance(data, np.ndarray):
        return _of_array(data)
    if isinstance(data, list | tuple):
        return _of_list(data)
    return _of_list(list(data)) if hasattr(data, "iloc") else [data]


def _column(table: Any, names: list[Any]) -> Any:
    if COLUMN in names:
        return table[COLUMN]
    if len(names) == 1:
        return table[names[0]]
    raise UserError(
        f"there is no column {COLUMN!r} among {joined(names) or 'no columns'}: name the pictures' column so"
    )


def _of_array(array: npt.NDArray[Any]) -> list[Any]:
    if array.dtype == object or array.dtype.kind in "SU":
        return _each(array.ravel().tolist())
    array = _as_bytes(array)
    return list(array) if array.ndim == 4 else [array]


def _of_list(values: Sequence[Any]) -> list[Any]:
    """Return the pictures of a list, which is one array of numbers where all of it fits in one."""
    if _first_leaf(values) is None:
        return _each(values)
    array = _numbers(values)
    if array is not None:
        return _of_array(array)
    pictures = _each(values)
    shapes: list[tuple[int, ...]] = [picture.shape if isinstance(picture, np.ndarray) else () for picture in pictures]
    rows = all(len(shape) == 1 for shape in shapes)
    rows_of_colours = all(len(shape) == 2 for shape in shapes) and {shape[1] for shape in shapes} in ({1}, {3}, {4})
    if rows or rows_of_colours:  # of one picture
        raise UserError(_UNEQUAL.format(0))
    return pictures


def _each(values: Sequence[Any]) -> list[Any]:
    """Return values with nested lists as arrays, each a picture of its own.

    Raises:
        UserError: a nested list is no array of numbers.
    """
    pictures = [_numbers(value) if isinstance(value, list | tuple) else value for value in values]
    for number, (picture, value) in enumerate(zip(pictures, values, strict=True)):
        if picture is None and value is not None:
            raise UserError(_UNEQUAL.format(number))
    return pictures


def _first_leaf(values: Any) -> int | float | None:
    """Return the first number of nested lists; None when something else is first, as a text or an array."""
    while isinstance(values, list | tuple) and values:
        values = values[0]
    return values if isinstance(values, int | float) else None


def _numbers(values: Sequence[Any]) -> npt.NDArray[Any] | None:
    """Return nested lists of numbers as an array; None when lengths are unequal, or something else is among them."""
    try:
        array = np.array(values)
    except ValueError:
        return None
    return _as_bytes(array) if array.dtype.kind in "biuf" else None


def _as_bytes(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return whole numbers from 0 to 255 as uint8, whatever their type: JSON has no bytes."""
    whole = array.dtype.kind in "iu" and array.dtype != np.uint8
    return array.astype(np.uint8) if whole and array.size and array.min() >= 0 and array.max() <= 255 else array

"""How activations are stored: a row of bytes an image, in the precision that the engine computes in. No Keras."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ml_dtypes import bfloat16

CutArrays = tuple[npt.NDArray[np.float32], ...]

STORAGE_DTYPES = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(bfloat16), "float16": np.dtype(np.float16)}
# A quantised network's outputs are floating point. Rounding them to 256 values once more would lose as much again.
STORAGE_DTYPES["int8"] = STORAGE_DTYPES["bfloat16"]
BATCH_SIZE = 64  # images decoded and run together; the number does not change the outputs


def pack_rows(tensors: Sequence[npt.NDArray[np.float32]], dtype: np.dtype[Any]) -> npt.NDArray[np.uint8]:
    """Return a row of bytes for each of B images, uint8 (B, row_bytes): its tensors, (B, ...) each, one by one."""
    flat = [y.reshape(len(y), -1).astype(dtype) for y in tensors]
    return np.ascontiguousarray(np.concatenate(flat, axis=1)).view(np.uint8)


def unpack_rows(rows: npt.NDArray[np.uint8], shapes: Sequence[tuple[int, ...]], dtype: np.dtype[Any]) -> CutArrays:
    """Return the tensors of B rows, float32 (B, ...) each; shapes are theirs without the batch."""
    stored = rows.view(dtype)
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    parts = np.split(stored, ends[:-1], axis=1)
    return tuple(part.astype(np.float32).reshape(len(rows), *shape) for part, shape in zip(parts, shapes, strict=True))


def rounded(tensors: Sequence[npt.NDArray[np.float32]], dtype: np.dtype[Any]) -> CutArrays:
    """Return the tensors as if they had been stored and loaded."""
    return tuple(y.astype(dtype).astype(np.float32) for y in tensors)

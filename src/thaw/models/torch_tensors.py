"""The tensors of a PyTorch state dict without PyTorch, and without running anything the file asks for.

A `.pth` file is a pickle, and a pickle may call any function of Python. This reader admits the names that a state dict
needs (`_ADMITTED`) and refuses all others, so the worst a hostile file can do is to fail. The names stand for strings,
slotted objects and OrderedDict here, so that even the pickle's BUILD, which sets attributes, changes nothing that
outlives the call.
"""

import io
import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thaw.common.errors import UserError

# First of the five pickles of the format that torch wrote before 1.6 (torch.serialization.MAGIC_NUMBER), and the next.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001

# Both formats store little-endian bytes; a file that says otherwise is refused. numpy has no bfloat16: refused too.
_STORAGE_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


class _Storage(NamedTuple):
    """A flat sequence of numbers of which tensors are windows; its bytes lie elsewhere in the file."""

    key: str
    dtype: str
    length: int


class _Window(NamedTuple):
    """A pickled tensor; offset and strides count elements, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _RebuildTensor:
    """A substitute for torch._utils._rebuild_tensor_v2 that returns the window; numbers are read later."""

    __slots__ = ()

    def __call__(self, storage: _Storage, offset: int, shape: Any, strides: Any, *_autograd: object) -> _Window:
        if not isinstance(storage, _Storage):
            raise pickle.UnpicklingError("a tensor without a storage")
        window = _Window(storage, offset, tuple(shape), tuple(strides))
        numbers = (offset, *window.shape, *window.strides)
        if len(window.shape) != len(window.strides) or any(type(n) is not int or n < 0 for n in numbers):
            raise pickle.UnpicklingError(f"a tensor of shape {shape}, strides {strides}, offset {offset}")
        return window


_ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
    **{("torch", storage): dtype for storage, dtype in _STORAGE_DTYPES.items()},
}


class _TensorUnpickler(pickle.Unpickler):
    """An unpickler of tensors only; `storages` holds the storages that they refer to, by key."""

    def __init__(self, file: io.BytesIO, path: Path) -> None:
        super().__init__(file)
        self.path = path
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return the substitute of an admitted name; raises UserError for any other name."""
        if (module, name) not in _ADMITTED:
            raise UserError(
                f"{self.path} asks for {module}.{name} while it is read; refused, nothing of it was run. "
                "Only plain tensors are admitted. Save the network's state_dict() and use that file."
            )
        return _ADMITTED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the storage of `("storage", type, key, device, length)`; legacy files add a view, None since 0.4."""
        kind, dtype, key, _device, length, *view = pid
        known = kind == "storage" and dtype in _STORAGE_DTYPES.values() and view in ([], [None])
        if not known or type(key) is not str or type(length) is not int or length < 0:
            raise pickle.UnpicklingError(f"an unknown kind of storage: {pid}")
        storage = self.storages.setdefault(key, _Storage(key, dtype, length))
        if storage != _Storage(key, dtype, length):
            raise pickle.UnpicklingError(f"storage {key} is described in two ways")
        return storage


def read_state_dict(path: str | Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a PyTorch state dict by name, as separate arrays in row-major order.

    Reads what `torch.save(module.state_dict(), path)` writes, in the zip format and in that before torch 1.6.

    Raises:
        UserError: the file refers to anything but tensors (no code of it is run), is truncated or is no state dict.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        state, raw = _read_zip(data, path) if data.startswith(b"PK\x03\x04") else _read_legacy(data, path)
        if not isinstance(state, dict) or not all(type(n) is str and type(w) is _Window for n, w in state.items()):
            raise UserError(f"{path} holds something else than a flat state dict (names to tensors).")
        return {name: _extract(window, raw) for name, window in state.items()}
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # a broken pickle or zip raises nearly anything, from KeyError to MemoryError
        raise UserError(
            f"{path} is not a PyTorch state dict, or is damaged or cut short ({type(error).__name__}: {error})."
        ) from error


def _read_zip(data: bytes, path: Path) -> tuple[object, Mapping[str, bytes]]:
    """Read the zip format: `NAME/data.pkl` is the pickle, `NAME/data/KEY` the bytes of each storage."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"{len(pickles)} entries are named data.pkl instead of one")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("its numbers are big-endian")
        unpickler = _TensorUnpickler(io.BytesIO(archive.read(pickles[0])), path)
        state = unpickler.load()
        return state, {key: archive.read(f"{root}data/{key}") for key in unpickler.storages}


def _read_legacy(data: bytes, path: Path) -> tuple[object, Mapping[str, bytes]]:
    """Read the format before torch 1.6: pickles of magic, protocol, system, state, keys; then each key's bytes."""
    file = io.BytesIO(data)
    if _TensorUnpickler(file, path).load() != _LEGACY_MAGIC or _TensorUnpickler(file, path).load() != _LEGACY_PROTOCOL:
        raise ValueError("it does not begin as torch's files do")
    if _TensorUnpickler(file, path).load()["little_endian"] is not True:
        raise ValueError("its numbers are big-endian")
    unpickler = _TensorUnpickler(file, path)
    state = unpickler.load()
    raw = {}
    for key in _TensorUnpickler(file, path).load():
        (length,) = struct.unpack("<q", file.read(8))
        raw[key] = file.read(length * np.dtype(unpickler.storages[key].dtype).itemsize)
    return state, raw


def _extract(window: _Window, raw: Mapping[str, bytes]) -> NDArray[Any]:
    """Copy a tensor from its storage's bytes after checking that it lies inside, which `as_strided` does not check."""
    storage, offset, shape, strides = window
    numbers = np.frombuffer(raw[storage.key], storage.dtype)
    if len(numbers) != storage.length:
        raise ValueError(f"storage {storage.key} has {len(numbers)} of {storage.length} numbers")
    if math.prod(shape) == 0:
        return np.zeros(shape, storage.dtype)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    # Without the second test a tensor with strides of 0 could fill the memory with copies of a few numbers.
    if last >= len(numbers) or math.prod(shape) > len(numbers):
        raise ValueError(f"a tensor of shape {shape} reaches past its storage of {len(numbers)} numbers")
    steps = tuple(stride * numbers.itemsize for stride in strides)
    return np.lib.stride_tricks.as_strided(numbers[offset:], shape, steps).copy(order="C")

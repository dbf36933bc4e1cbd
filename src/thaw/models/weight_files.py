"""Weights from files, into an architecture built in code. Nothing of a file is executed."""

import json
import re
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from thaw.common.downloads import DownloadError, fetch, keras_cache_folder
from thaw.common.errors import UserError, joined
from thaw.models import graph_digest
from thaw.models.graph_digest import GraphDescription

_CONFIG_BYTES = 100_000_000  # the largest network's takes 1 MB; more is a trap for the memory


@contextmanager
def checked_downloads(backbone: str) -> Iterator[None]:
    """Let keras.applications fetch weights through `thaw.common.downloads`; a failure says how to give a file instead.

    The builders know addresses and hashes, and look `file_utils.get_file` up when they need it: taking its place for
    the moment spares a second list of both, which a later Keras would make wrong.
    """
    from keras.src.utils import file_utils

    kerass = file_utils.get_file
    file_utils.get_file = _get_file
    try:
        yield
    except DownloadError as error:
        raise UserError(
            f"the ImageNet weights of {backbone} could not be downloaded from {error.url}: {error.reason}. "
            "Fetch that file on a machine with a network and give it: backbone.weights=FILE.h5. "
            "Or train from random weights: backbone.weights=none"
        ) from error
    finally:
        file_utils.get_file = kerass


@contextmanager
def without_weights() -> Iterator[None]:
    """Let keras.applications build the graph that it builds for ImageNet weights, and load none.

    Some builders make another graph for `weights="imagenet"`; there is no other way to ask for it.
    """
    import keras
    from keras.src.utils import file_utils

    kerass, load = file_utils.get_file, keras.Model.load_weights
    file_utils.get_file = lambda *_, **__: ""
    keras.Model.load_weights = lambda *_, **__: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the size of images that the weights are for
            yield
    finally:
        file_utils.get_file, keras.Model.load_weights = kerass, load


def _get_file(fname: str, origin: str, *, cache_subdir: str, file_hash: str | None = None) -> str:
    return str(fetch(origin, keras_cache_folder(cache_subdir) / fname, file_hash, _opens))


def _opens(file: Path) -> bool:
    """Whether it is HDF5 to its end: its header says how long it is, so one that was cut short does not open."""
    try:
        with h5py.File(file, "r"):
            return True
    except OSError:
        return False


def stored_graph(path: str) -> GraphDescription | None:
    """Describe the network that a weights file says it belongs to; None when it says nothing, or cannot be read.

    A `.keras` file holds the whole config; an .h5 file of a whole model only serves for the classes of its layers, as
    Keras 2 wrote connections in another way; a file of weights alone has neither.
    """
    file = Path(path).expanduser()
    try:
        if file.suffix == ".keras":
            with zipfile.ZipFile(file) as archive:
                if archive.getinfo("config.json").file_size > _CONFIG_BYTES:
                    return None
                return graph_digest.describe_config(json.loads(archive.read("config.json"))["config"])
        with h5py.File(file, "r") as h5:
            layers = json.loads(h5.attrs["model_config"])["config"]["layers"]
            return [{"class": layer["class_name"], "config": {}, "inputs": None} for layer in layers]
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError, UnicodeDecodeError):
        return None  # reading its weights will say what is wrong


def load_weights_file(layers: list[Any], path: str, backbone: str) -> str:
    """Assign the weights in a file to `layers` (the backbone's, in order); return the path.

    Reads Keras's .h5 (layers in the order of the file), .weights.h5 and .keras (by class and count). A file may hold
    more layers after the backbone's, such as a top. Raises UserError when the file is no weights file or does not fit:
    nothing is assigned then.
    """
    file = Path(path).expanduser()
    weighted = [layer for layer in layers if layer.weights]
    try:
        arrays = _read_keras_zip(file, weighted) if file.suffix == ".keras" else _read_h5(file, weighted)
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise UserError(f"backbone.weights={path} cannot be read as Keras weights: {error}") from error
    _check(weighted, arrays, path, backbone)
    for layer, values in zip(weighted, arrays, strict=False):
        layer.set_weights(values)
    return str(file.resolve())


def _check(weighted: list[Any], arrays: list[list[np.ndarray]], path: str, backbone: str) -> None:
    if len(arrays) < len(weighted):
        raise UserError(
            f"backbone.weights={path} does not fit {backbone}: the file has weights for {len(arrays)} layers, "
            f"the network has {len(weighted)}. Is it another network's file?"
        )
    for layer, values in zip(weighted, arrays, strict=False):
        want = [tuple(v.shape) for v in layer.weights]
        have = [tuple(v.shape) for v in values]
        if want != have:
            raise UserError(
                f"backbone.weights={path} does not fit {backbone}: layer {layer.name} takes {joined(want)}, "
                f"the file holds {joined(have) or 'nothing'}. Is it another network's file, or another backbone.alpha?"
            )


def _read_h5(file: Path, weighted: list[Any]) -> list[list[np.ndarray]]:
    with h5py.File(file, "r") as h5:
        _refuse_other_files(h5)
        if "layer_names" in h5.attrs or "model_weights" in h5:
            return _read_legacy(h5.get("model_weights", h5))
        return _read_store(h5, weighted)


def _read_legacy(group: Any) -> list[list[np.ndarray]]:
    """The format of Keras 1 and 2, in which keras.applications' files are: layers in topological order."""
    names = [n.decode() if isinstance(n, bytes) else n for n in group.attrs["layer_names"]]
    arrays = [[np.asarray(group[name][w]) for w in group[name].attrs["weight_names"]] for name in names]
    return [values for values in arrays if values]


def _read_store(h5: Any, weighted: list[Any]) -> list[list[np.ndarray]]:
    """Keras 3's format: layers are named by class and count (`conv2d`, `conv2d_1`, ...), in the order of the model.

    A layer that holds layers, such as ConvNeXt's stem, has a group of its own for them.
    """
    layers = h5["layers"] if "layers" in h5 else h5["_layer_checkpoint_dependencies"]
    arrays, seen = [], dict[str, int]()
    for layer in weighted:
        kind = _snake_case(type(layer).__name__)
        seen[kind] = seen.get(kind, -1) + 1
        name = f"{kind}_{seen[kind]}" if seen[kind] else kind
        if name not in layers:
            break
        variables = layers[name]["vars"]
        own = [np.asarray(variables[str(i)]) for i in range(len(variables))]
        if inner := [entry for entry in getattr(layer, "layers", []) if entry.weights]:
            own += [array for values in _read_store(layers[name], inner) for array in values]
        arrays.append(own)
    return arrays


def _snake_case(name: str) -> str:
    # Keras's own rule (keras.src.utils.naming.to_snake_case), which names the groups in its files.
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _read_keras_zip(file: Path, weighted: list[Any]) -> list[list[np.ndarray]]:
    with zipfile.ZipFile(file) as archive, tempfile.TemporaryDirectory() as folder:
        extracted = archive.extract("model.weights.h5", folder)
        with h5py.File(extracted, "r") as h5:
            _refuse_other_files(h5)
            return _read_store(h5, weighted)


def _refuse_other_files(h5: Any) -> None:
    """Raise OSError when any part lies in another file: HDF5 would read whatever file of this machine it names."""

    # Both visits stop at the first answer that is not None and return it; h5py does not survive a raise in there.
    found = h5.visititems_links(lambda name, link: name if isinstance(link, h5py.ExternalLink) else None)
    found = found or h5.visititems(lambda name, item: name if _reads_another(item) else None)
    if found:
        raise OSError(f"{found} lies in another file")


def _reads_another(item: Any) -> bool:
    return isinstance(item, h5py.Dataset) and bool(item.is_virtual or item.external)

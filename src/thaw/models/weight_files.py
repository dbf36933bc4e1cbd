"""Weights from files, loaded into an architecture that is built in code. No code of a file is run."""

import json
import re
import tempfile
import warnings
import zipfile
from collections import Counter
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

_MAX_CONFIG_BYTES = 100_000_000  # that of the largest network takes 1 MB; more would be an attack on the memory


@contextmanager
def checked_downloads(backbone: str) -> Iterator[None]:
    """Within the block, keras.applications downloads weights by `thaw.common.downloads`.

    `file_utils.get_file` is replaced, as the builders hold the addresses and hashes: a copy of them here would become
    wrong with a later Keras.

    Raises:
        UserError: the download failed; the message says how to give a file instead.
    """
    from keras.src.utils import file_utils

    original = file_utils.get_file
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
        file_utils.get_file = original


@contextmanager
def without_weights() -> Iterator[None]:
    """Within the block, keras.applications builds the graph for ImageNet weights without loading them.

    Some builders return another graph for `weights="imagenet"`, and take no other argument for it.
    """
    import keras
    from keras.src.utils import file_utils

    get_file, load_weights = file_utils.get_file, keras.Model.load_weights
    file_utils.get_file = lambda *_, **__: ""
    keras.Model.load_weights = lambda *_, **__: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns about the image size of the weights
            yield
    finally:
        file_utils.get_file, keras.Model.load_weights = get_file, load_weights


def _get_file(fname: str, origin: str, *, cache_subdir: str, file_hash: str | None = None) -> str:
    return str(fetch(origin, keras_cache_folder(cache_subdir) / fname, file_hash, _is_complete_hdf5))


def _is_complete_hdf5(file: Path) -> bool:
    """Whether a file is HDF5 and not truncated: the header states the length, so a truncated file does not open."""
    try:
        with h5py.File(file, "r"):
            return True
    except OSError:
        return False


def stored_graph(path: str) -> GraphDescription | None:
    """Return the description of the network in a weights file; None when it has none or cannot be read.

    A .keras file holds the whole config. An .h5 file of a whole model gives the classes of its layers only, as Keras 2
    wrote connections differently. A file of weights alone has no description.
    """
    file = Path(path).expanduser()
    try:
        if file.suffix == ".keras":
            with zipfile.ZipFile(file) as archive:
                if archive.getinfo("config.json").file_size > _MAX_CONFIG_BYTES:
                    return None
                return graph_digest.describe_config(json.loads(archive.read("config.json"))["config"])
        with h5py.File(file, "r") as h5:
            layers = json.loads(h5.attrs["model_config"])["config"]["layers"]
            return [{"class": layer["class_name"], "config": {}, "inputs": None} for layer in layers]
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError, UnicodeDecodeError):
        return None  # reading its weights raises the error


def load_weights_file(layers: list[Any], path: str, backbone: str) -> str:
    """Assign the weights in a file to the backbone's `layers`; return the file's absolute path.

    Reads Keras's .h5 (layers in the order of the file), .weights.h5 and .keras (by class and count). A file may hold
    more layers after the backbone's, such as a top.

    Raises:
        UserError: the file is no weights file or does not fit; no weight is assigned then.
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
    """Read the format of Keras 1 and 2, which keras.applications publishes: layers in topological order."""
    names = [n.decode() if isinstance(n, bytes) else n for n in group.attrs["layer_names"]]
    arrays = [[np.asarray(group[name][w]) for w in group[name].attrs["weight_names"]] for name in names]
    return [values for values in arrays if values]


def _read_store(h5: Any, weighted: list[Any]) -> list[list[np.ndarray]]:
    """Read Keras 3's format: layers are named by class and count (`conv2d`, `conv2d_1`, ...), in the model's order.

    A layer that contains layers, such as ConvNeXt's stem, has a group for them.
    """
    layers = h5["layers"] if "layers" in h5 else h5["_layer_checkpoint_dependencies"]
    arrays, counts = [], Counter[str]()
    for layer in weighted:
        kind = _snake_case(type(layer).__name__)
        name = f"{kind}_{counts[kind]}" if counts[kind] else kind
        counts[kind] += 1
        if name not in layers:
            break
        variables = layers[name]["vars"]
        values = [np.asarray(variables[str(i)]) for i in range(len(variables))]
        if inner := [entry for entry in getattr(layer, "layers", []) if entry.weights]:
            values += [array for arrays_of_layer in _read_store(layers[name], inner) for array in arrays_of_layer]
        arrays.append(values)
    return arrays


def _snake_case(name: str) -> str:
    # Keras's rule for the names of groups in its files (keras.src.utils.naming.to_snake_case).
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
    """Raise OSError when any part lies in another file: HDF5 would read any file of this machine that is named."""

    def is_external(item: Any) -> bool:
        return isinstance(item, h5py.Dataset) and bool(item.is_virtual or item.external)

    # Both visits stop at the first answer that is not None and return it; h5py crashes if a callback raises.
    external = h5.visititems_links(lambda name, link: name if isinstance(link, h5py.ExternalLink) else None)
    external = external or h5.visititems(lambda name, item: name if is_external(item) else None)
    if external:
        raise OSError(f"{external} lies in another file")

"""The data set `cifar10` as its authors publish it: five training batches and a test batch, pickled by Python 2."""

import io
import pickle
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.common.downloads import DownloadError, fetch, keras_cache_folder
from thaw.common.errors import UserError, joined
from thaw.config.schema import DatasetConfig
from thaw.data.catalog import TEST, TRAIN, Catalog

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
KERAS_FILE_NAME = "cifar-10-batches-py-target_archive"  # what keras.datasets.cifar10 calls it, so that its copy is used
EXTRACTED_FOLDER = "cifar-10-batches-py"
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SPLIT_OF_BATCH = {**{f"data_batch_{i}": TRAIN for i in range(1, 6)}, "test_batch": TEST}
MAX_BATCH_BYTES = 100_000_000  # a real one has 31 MB; anything larger must not fill the memory


def load_catalog(dataset: DatasetConfig, min_classes: int = 2) -> Catalog:
    """Return CIFAR-10 as uint8 (60000, 32, 32, 3), the training batches assigned to train and the test batch to test.

    Args:
        dataset: `path` is the python-version archive, its extracted folder, or the folder around that. Without it the
            archive is downloaded once into Keras's cache.
        min_classes: CIFAR-10 has ten.

    Raises:
        UserError: `path` is none of these, or the archive cannot be downloaded.
    """
    path = Path(dataset.path).expanduser() if dataset.path is not None else download()
    contents = _from_folder(path) if path.is_dir() else _from_archive(path)
    if missing := [name for name in SPLIT_OF_BATCH if name not in contents]:
        raise UserError(
            f"dataset.path={path} lacks {joined(missing)}: expected CIFAR-10's python version, cifar-10-python.tar.gz "
            f"or its extracted folder {EXTRACTED_FOLDER}"
        )
    images, labels = zip(*(_parse_batch(f"{path}: {name}", contents[name]) for name in SPLIT_OF_BATCH), strict=True)
    counts = [len(batch) for batch in labels]
    return Catalog(
        names=tuple(f"{batch}/{i:05d}" for batch, n in zip(SPLIT_OF_BATCH, counts, strict=True) for i in range(n)),
        paths=None,
        arrays=np.concatenate(images),
        labels=np.concatenate(labels),
        class_names=CLASS_NAMES,
        assigned_splits=np.repeat(np.array(list(SPLIT_OF_BATCH.values()), np.int8), counts),
    )


def download() -> Path:
    """Return the archive in Keras's cache (~/.keras/datasets, or $KERAS_HOME), downloading its 170 MB if missing."""
    try:
        return fetch(URL, keras_cache_folder("datasets") / KERAS_FILE_NAME, ARCHIVE_SHA256)
    except DownloadError as error:
        raise UserError(
            f"CIFAR-10 could not be downloaded from {URL} ({error.reason}). Fetch cifar-10-python.tar.gz some other "
            "way and give it: dataset.path=FILE. Or try dataset=digits, which needs no download"
        ) from error


def _from_archive(path: Path) -> dict[str, bytes]:
    """Return the batches by name, read in memory: nothing is extracted, so no member can write anywhere."""
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if name in SPLIT_OF_BATCH and member.isfile() and member.size <= MAX_BATCH_BYTES:
                    contents[name] = archive.extractfile(member).read()  # type: ignore[union-attr]  # it is a file
    except FileNotFoundError:
        raise UserError(f"dataset.path={path} does not exist") from None
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"dataset.path={path} is not the CIFAR-10 archive, or damaged ({error}): "
            f"expected cifar-10-python.tar.gz from {URL}, sha256 {ARCHIVE_SHA256}"
        ) from error
    return contents


def _from_folder(path: Path) -> dict[str, bytes]:
    inner = path / EXTRACTED_FOLDER if (path / EXTRACTED_FOLDER).is_dir() else path
    files = {name: inner / name for name in SPLIT_OF_BATCH if (inner / name).is_file()}
    if not files and any(child.is_dir() and not child.name.startswith(".") for child in inner.iterdir()):
        raise UserError(
            f"dataset.path={path} holds folders, not CIFAR-10's batches ({joined(SPLIT_OF_BATCH)}). "
            f"For pictures in one folder a class: dataset=image_folder dataset.path={path}"
        )
    return {name: file.read_bytes() for name, file in files.items()}


def _parse_batch(name: str, content: bytes) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Return the images uint8 (n, 32, 32, 3) and labels int32 (n,) of a batch."""
    batch = unpickle_arrays(name, content)
    try:
        data, labels = batch[b"data"], np.asarray(batch[b"labels"], np.int32)
        if data.dtype != np.uint8 or data.shape != (len(labels), 3 * 32 * 32):
            raise ValueError(f"data is {data.dtype} {data.shape}")
        if len(labels) and (labels.min() < 0 or labels.max() >= len(CLASS_NAMES)):
            raise ValueError("labels are not 0-9")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{name} is not a batch of CIFAR-10: {type(error).__name__} {error}") from error
    # A row is all reds, then greens, then blues, each row by row.
    return np.ascontiguousarray(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels


def unpickle_arrays(name: str, content: bytes) -> Any:
    """Load a pickle that may hold numpy arrays, numbers, strings, lists and dicts, and can run nothing else.

    A pickle is a program: one from a stranger could run any function that its names reach. Raises UserError when it
    asks for any other name, or is no pickle; `name` is what errors call it.
    """
    try:
        return _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    except Exception as error:  # damaged pickles raise whatever their bytes happen to ask for
        raise UserError(f"{name} is not a readable pickle: {type(error).__name__} {error}") from error


class _ArraysOnly(pickle.Unpickler):
    """Unpickles arrays as numpy and Python 2 wrote them, and refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        # numpy.core was renamed numpy._core; reaching for the old name warns.
        if (module, name) in (("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")):
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        raise UserError(f"the pickle asks for {module}.{name}; a batch of CIFAR-10 holds arrays only, so it is refused")


def _latin1(text: str, encoding: str) -> bytes:
    """`_codecs.encode`, as Python 3 writes bytes into old pickles; other codecs would decompress, and are refused."""
    if encoding != "latin1":
        raise UserError(f"the pickle asks for the codec {encoding}; only latin1 is expected")
    return text.encode("latin1")

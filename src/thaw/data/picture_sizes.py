"""How large the pictures of a data set are, from the headers of a few."""

import statistics
from pathlib import Path

from PIL import Image

from thaw.common.errors import UserError
from thaw.config.schema import DatasetConfig
from thaw.data.dataset_table import load_named_catalog

_LOOKED_AT = 32  # pictures, evenly spaced over the data set
_KNOWN = {"cifar10": 32, "digits": 8}  # pixels; CIFAR-10 may have to be downloaded first


def typical_side(dataset: DatasetConfig) -> int | None:
    """Return the median of the shorter sides of some pictures, in pixels; None if none of them can be read.

    Only headers are read. What is wrong with a data set, or with its files, is left to its scan to say.
    """
    if dataset.name in _KNOWN:
        return _KNOWN[dataset.name]
    try:
        catalog = load_named_catalog(dataset)
    except UserError:
        return None
    paths = catalog.paths or ()
    step = max(1, len(paths) // _LOOKED_AT)
    sides = [side for path in paths[::step][:_LOOKED_AT] if (side := _shorter_side(path)) is not None]
    return int(statistics.median(sides)) if sides else None


def _shorter_side(path: str) -> int | None:
    try:
        with Image.open(Path(path)) as image:
            return min(image.size)
    except Exception:  # whatever Pillow raises for a file that is no picture
        return None

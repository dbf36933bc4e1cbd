"""The pictures of a data set as a run would take them, and the files among them that cannot be used."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from thaw.cache import Store
from thaw.config.schema import ExploreConfig
from thaw.data import kept, pixels, sources, splits
from thaw.data.catalog import Catalog
from thaw.data.decode import FORMATS, BadImage
from thaw.data.pixels import Pixels
from thaw.data.scan import Seen, scan
from thaw.data.threads import counted, in_order
from thaw.errors import UserError
from thaw.models import table

LOT = 512  # pictures whose pixels are handed to the cache in one go, and are in memory until then


@dataclass(frozen=True)
class Bad:
    """A file that cannot be used."""

    name: str  # relative to the dataset's folder
    label: str  # its class
    split: str
    reason: str


@dataclass(frozen=True, eq=False)
class Pictures:
    """N sound pictures by their row, 0 to N - 1, in the catalog's order; and the files that are none."""

    pixels: Pixels
    splits: tuple[str, ...]  # N: train, val or test
    formats: tuple[str, ...]  # N, by content: JPEG, PNG, ...; "" of pictures that are no files
    modes: tuple[str, ...]  # N, Pillow's: RGB, L, P, RGBA, CMYK, ...
    bytes: npt.NDArray[np.int64]  # (N,): of the file; 0 of pictures that are no files
    bad: tuple[Bad, ...]

    def __len__(self) -> int:
        return len(self.splits)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.pixels.catalog.class_names

    @property
    def labels(self) -> npt.NDArray[np.int32]:
        """Indices into class_names, int32 (N,)."""
        return self.pixels.catalog.labels[self.pixels.indices]

    def name(self, row: int) -> str:
        """The file's name relative to the dataset's folder."""
        return self.pixels.catalog.names[self.pixels.indices[row]]

    def label(self, row: int) -> str:
        """The name of its class."""
        return self.class_names[self.labels[row]]

    def path(self, row: int) -> str | None:
        """The file's place; None for a picture that is no file."""
        paths = self.pixels.catalog.paths
        return None if paths is None else paths[self.pixels.indices[row]]


def read(config: ExploreConfig, store: Store) -> Pictures:
    """List, split and check the pictures as a run does; files that cannot be read are set aside and do not stop it.

    Raises UserError as the source and the splits do, and when a split or a class has no sound picture left.
    """
    own = config.dataset
    catalog = sources.load(own)
    chosen = splits.split(
        catalog.labels, catalog.given, catalog.class_names, val_fraction=own.val_fraction,
        test_fraction=own.test_fraction, limit_per_class=own.limit_per_class, seed=config.seed,
    )  # fmt: skip
    split_of = {int(index): name for name, indices in chosen.named().items() for index in indices}
    size = table.image_size(config.backbone)
    reasons = _unreadable(catalog, chosen.all(), size, store)
    sound = np.array([index for index in chosen.all() if index not in reasons], np.int64)
    if len(sound) < 2:
        raise UserError(f"of {len(chosen.all())} pictures {len(sound)} can be read: there is nothing to compare")
    images = pixels.read(catalog, sound, size, None if store.off else store)
    formats, modes, lengths = _headers(catalog, sound)
    bad = tuple(
        Bad(catalog.names[i], catalog.class_names[catalog.labels[i]], split_of[i], reason)
        for i, reason in reasons.items()
    )
    return Pictures(images, tuple(split_of[i] for i in sound.tolist()), formats, modes, lengths, bad)


def _unreadable(catalog: Catalog, indices: npt.NDArray[np.int64], size: int, store: Store) -> dict[int, str]:
    """Why files cannot be read, by index. What was decoded on the way is in the cache."""
    if catalog.paths is None:
        return {}
    there = kept.spaces(None if store.off else store, size, len(indices))
    paths = [catalog.paths[i] for i in indices]
    reasons: dict[int, str] = {}
    sound: list[Seen] = []
    looked = counted(scan(paths, size, there.unknown), "checking images", len(paths))
    for index, found in zip(indices.tolist(), looked, strict=True):
        if isinstance(found, BadImage):
            reasons[index] = found.reason
        else:
            sound.append(found)
        if len(sound) == LOT:
            there.add(sound)
            sound = []
    there.add(sound)
    return reasons


def _headers(
    catalog: Catalog, indices: npt.NDArray[np.int64]
) -> tuple[tuple[str, ...], tuple[str, ...], npt.NDArray[np.int64]]:
    """Formats, modes and lengths in bytes, from the files' first bytes: they are known to be sound."""
    paths = catalog.paths
    if paths is None:
        n = len(indices)
        return ("",) * n, ("RGB",) * n, np.zeros(n, np.int64)

    def look(index: int) -> tuple[str, str, int]:
        with Image.open(paths[index], formats=FORMATS) as image:
            return image.format or "", image.mode, os.stat(paths[index]).st_size  # noqa: PTH116 - 60,000 of them

    found: Iterable[tuple[str, str, int]] = counted(in_order(look, indices.tolist()), "file types", len(indices))
    formats, modes, lengths = zip(*found, strict=True)
    return formats, modes, np.array(lengths, np.int64)

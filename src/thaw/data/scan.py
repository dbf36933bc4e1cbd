"""The scan of a whole data set: what every file is, and which cannot be used."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thaw.data.catalog import Catalog


@dataclass(frozen=True)
class Bad:
    """A file that cannot be used."""

    name: str  # relative to the dataset's folder, as in Catalog.names
    path: str  # absolute
    label: str  # the class that it was meant for
    kind: str  # a key of `faults.KINDS`
    reason: str  # one line for people
    sha256: str  # of its bytes; "" when they cannot be read


@dataclass(frozen=True, eq=False)
class Scanned:
    """What was found: the N sound images, in the catalog's order, and the bad ones that were taken out of it."""

    catalog: Catalog  # N images; its classes are those of before, though one may have lost all images
    sha256: tuple[str, ...]  # N, of the file's bytes, or of the array's
    sizes: npt.NDArray[np.int32]  # int32 (N, 2): width, height of the upright picture as it is stored, in pixels
    modes: tuple[str, ...]  # N, Pillow's: RGB, L, P, RGBA, CMYK, I;16, ...
    formats: tuple[str, ...]  # N, by content: JPEG, PNG, ...; "" of arrays
    notes: tuple[str, ...]  # N, what people should know of it, such as "first of 12 frames"; mostly ""
    bad: tuple[Bad, ...]

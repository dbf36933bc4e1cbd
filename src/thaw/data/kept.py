"""What the cache keeps of pictures, by the hash of their files: that they are sound, and their pixels."""

import importlib.metadata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import features

from thaw.cache import Space, Store
from thaw.data import decode
from thaw.data.look import Decoded, Seen

ABOUT = 256  # bytes that the cache may write about a row, beside it, and to its verdict; an upper bound


@dataclass(frozen=True)
class Kept:
    """The spaces of pictures. Without `verdicts` every file is decoded, without `pixels` they are held in memory.

    A row of `verdicts` is int32 [width, height] of an upright picture as it is stored; only sound ones have one. A row
    of `pixels` is uint8 (h, w, 3), as `Picture.at_most(image_size)` gives it.
    """

    verdicts: Space | None
    pixels: Space | None

    def unknown(self, hashes: list[str]) -> Iterable[int]:
        """Return where in `hashes` are those without a verdict; one of several equal ones is enough."""
        return range(len(hashes)) if self.verdicts is None else self.verdicts.missing(hashes)

    def add(self, seen: Iterable[Seen]) -> None:
        """Keep what there is of those that were decoded."""
        fresh = {one.sha256: one.decoded for one in seen if one.decoded is not None}
        hashes, decoded = list(fresh), list(fresh.values())
        if fresh and self.pixels is not None:
            self.pixels.rows(hashes, lambda missing: (decoded[i].pixels for i in missing))
        if fresh and self.verdicts is not None:  # last: what has a verdict is not decoded by the next run
            self.verdicts.rows(hashes, lambda missing: (_size(decoded[i]) for i in missing))

    def sizes(self, hashes: Sequence[str], decode_again: Callable[[int], Decoded]) -> npt.NDArray[np.int32]:
        """Return [width, height] of pictures whose verdicts were there, int32 (len(hashes), 2).

        `decode_again(position)` is asked for one whose verdict proves to be damaged, or was removed meanwhile.
        """
        assert self.verdicts is not None  # then nothing was known
        rows = self.verdicts.rows(hashes, lambda missing: (_size(decode_again(i)) for i in missing))
        return rows.take(np.arange(len(hashes))).view(np.int32)


def versions() -> dict[str, str | None]:
    """What decides on pixels besides our own rules: libjpeg too, as a distribution's Pillow brings another one."""
    return {"pillow": importlib.metadata.version("pillow"), "libjpeg_turbo": features.version_feature("libjpeg_turbo")}


def spaces(store: Store | None, image_size: int, images: int) -> Kept:
    """Return the spaces that have room for so many images in the store's budget."""
    if store is None or store.off or ABOUT * images > store.max_bytes:
        return Kept(None, None)
    decoder = {"decoder": decode.VERSION, **versions()}
    fits = (3 * image_size**2 + ABOUT) * images <= store.max_bytes
    how = {"resize": decode.RESIZE, "image_size": image_size}
    return Kept(
        verdicts=store.space({"kind": "verdicts", **decoder}),
        pixels=store.space({"kind": "pixels", **decoder, **how}) if fits else None,
    )


def _size(decoded: Decoded) -> npt.NDArray[np.int32]:
    return np.array([decoded.width, decoded.height], np.int32)

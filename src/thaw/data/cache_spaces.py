"""What the cache keeps of pictures: which content lay where, what content of a hash is, and its pixels."""

import dataclasses
import importlib.metadata
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import features

from thaw.cache import Full, Rows, Space, Store
from thaw.data import decode
from thaw.data.bit_depth import DEFAULT, Rules
from thaw.data.pixel_stores import Held
from thaw.data.probe import Seen, Verdict

ABOUT = 640  # bytes that the cache may write about a row, beside it, and to its verdict and stamp; an upper bound


@dataclass(frozen=True)
class Kept:
    """The spaces of pictures. Without `verdicts` every file is decoded, without `pixels` they are held in memory.

    A row of `stamps` is the sha256 of the file that had the stamp, uint8 (32,). A row of `verdicts` is a Verdict as
    JSON, of sound content and of bad. A row of `pixels` is uint8 (h, w, 3), as `Picture.at_most(image_size)` gives it.
    """

    image_size: int
    stamps: Space | None
    verdicts: Space | None
    pixels: Space | None
    held: Held
    rules: Rules = DEFAULT

    def hashes(self, stamps: Sequence[str]) -> list[str | None]:
        """Return the sha256 of the files that had these stamps, None where that is not known: then it is read."""
        if self.stamps is None or not stamps:
            return [None] * len(stamps)
        lacking = {stamps[position] for position in self.stamps.missing(stamps)}
        there = [position for position, stamp in enumerate(stamps) if stamp not in lacking]
        rows = self.stamps.open([stamps[position] for position in there])
        found: list[str | None] = [None] * len(stamps)
        if rows is not None:  # damaged ones cost no more than reading the files
            digests = rows.take(np.arange(len(there))).tobytes().hex()
            for i, position in enumerate(there):
                found[position] = digests[64 * i : 64 * i + 64]
        return found

    def unknown(self, hashes: list[str]) -> Iterable[int]:
        """Return where in `hashes` are those without a verdict; one of several equal ones is enough."""
        return range(len(hashes)) if self.verdicts is None else self.verdicts.missing(hashes)

    def add(self, seen: Iterable[Seen]) -> None:
        """Keep what there is of those that were looked at; where there is no room, the next run looks again."""
        with suppress(Full):
            self._add(list(seen))

    def _add(self, seen: list[Seen]) -> None:
        self._add_pixels({one.sha256: one.pixels for one in seen if one.pixels is not None})
        verdicts = {one.sha256: one.verdict for one in seen if one.sha256 and one.verdict is not None}
        if self.verdicts is not None and verdicts:  # after pixels: what has a verdict is not decoded by the next run
            rows = [_row(verdict) for verdict in verdicts.values()]
            self.verdicts.rows(list(verdicts), lambda missing: (rows[i] for i in missing))
        stamps = {one.stamp: one.sha256 for one in seen if one.stamp is not None}
        if self.stamps is not None and stamps:
            digests = [np.frombuffer(bytes.fromhex(sha256), np.uint8) for sha256 in stamps.values()]
            self.stamps.rows(list(stamps), lambda missing: (digests[i] for i in missing))

    def known(self, hashes: Sequence[str], look_again: Callable[[int], Verdict]) -> list[Verdict]:
        """Return the verdicts on content that has one.

        `look_again(position)` is asked for one that proves to be damaged, or was removed meanwhile.
        """
        if not hashes:
            return []
        assert self.verdicts is not None  # then nothing was known
        try:
            rows = self.verdicts.rows(hashes, lambda missing: (_row(look_again(i)) for i in missing))
        except Full:
            return self._known_but_for_some(hashes, look_again)
        return [_verdict(rows, position) for position in range(len(hashes))]

    def _known_but_for_some(self, hashes: Sequence[str], look_again: Callable[[int], Verdict]) -> list[Verdict]:
        """As `known`, where there is no room for the verdicts that are lacking."""
        assert self.verdicts is not None
        lacking = {hashes[position]: look_again(position) for position in self.verdicts.missing(hashes)}
        there = [sha256 for sha256 in hashes if sha256 not in lacking]
        if there and (rows := self.verdicts.open(there)) is not None:
            found = {sha256: _verdict(rows, position) for position, sha256 in enumerate(there)}
        else:  # none, or damaged
            found = {sha256: look_again(position) for position, sha256 in enumerate(hashes) if sha256 not in lacking}
        return [(lacking if sha256 in lacking else found)[sha256] for sha256 in hashes]

    def _add_pixels(self, pixels: Mapping[str, npt.NDArray[np.uint8]]) -> None:
        if self.pixels is None:
            for sha256, image in pixels.items():
                self.held.put(sha256, image)
        elif pixels:
            images = list(pixels.values())
            self.pixels.rows(list(pixels), lambda missing: (images[i] for i in missing))


def versions() -> dict[str, str | None]:
    """What decides on pixels besides our own rules: Pillow's libraries too, of which a distribution's has others."""
    return {
        "pillow": importlib.metadata.version("pillow"),
        "libjpeg_turbo": features.version_feature("libjpeg_turbo"),
        "littlecms2": features.version_module("littlecms2"),
    }


def spaces(
    store: Store | None,
    image_size: int,
    images: int,
    used: int | None = None,
    *,
    share: float = 1.0,
    rules: Rules = DEFAULT,
) -> Kept:
    """Return the spaces that have room in the store, by its budget and its disk: for what is known of so many images,
    and for the pixels of the `used` ones, at most, of them; default: of all. share: of the room that pixels may take;
    frozen activations save more, and want the rest.
    """
    used = images if used is None else used
    room = 0.0 if store is None or store.off else store.room().bytes
    if store is None or ABOUT * images > room or not room:
        return Kept(image_size, None, None, None, Held(), rules)
    decoder = {"decoder": decode.VERSION, **versions(), **rules.key()}
    fits = 3 * image_size**2 * used + ABOUT * images <= share * room
    how = {"resize": decode.RESIZE, "image_size": image_size}
    return Kept(
        image_size,
        stamps=store.space({"kind": "stamps"}),
        verdicts=store.space({"kind": "verdicts", **decoder}),
        pixels=store.space({"kind": "pixels", **decoder, **how}) if fits else None,
        held=Held(),
        rules=rules,
    )


def _verdict(rows: Rows, position: int) -> Verdict:
    return Verdict(*json.loads(rows.one(position).tobytes()))


def _row(verdict: Verdict) -> npt.NDArray[np.uint8]:
    fields = [getattr(verdict, field.name) for field in dataclasses.fields(verdict)]
    return np.frombuffer(json.dumps(fields).encode(), np.uint8)

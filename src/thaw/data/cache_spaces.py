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

from thaw.cache import CachedRows, CacheFull, CacheSpace, DiskCache
from thaw.data import decode
from thaw.data.decode import DEFAULT_OPTIONS, DecodeOptions
from thaw.data.pixel_stores import MemoryBuffer
from thaw.data.probe import FileProbe, ProbeResult

OVERHEAD_BYTES = (
    640  # bytes that the cache may write about a row, beside it, and to its verdict and stamp; an upper bound
)


@dataclass(frozen=True)
class CacheSpaces:
    """The spaces of pictures. Without `verdicts` every file is decoded, without `pixels` they are held in memory.

    A row of `stamps` is the sha256 of the file that had the stamp, uint8 (32,). A row of `verdicts` is a Verdict as
    JSON, of sound content and of bad. A row of `pixels` is uint8 (h, w, 3), as `Picture.at_most(image_size)` gives it.
    """

    image_size: int
    stat_hashes: CacheSpace | None
    probe_results: CacheSpace | None
    pixels: CacheSpace | None
    buffer: MemoryBuffer
    decode_options: DecodeOptions = DEFAULT_OPTIONS

    def known_hashes(self, stamps: Sequence[str]) -> list[str | None]:
        """Return the sha256 of the files that had these stamps, None where that is not known: then it is read."""
        if self.stat_hashes is None or not stamps:
            return [None] * len(stamps)
        lacking = {stamps[position] for position in self.stat_hashes.missing(stamps)}
        there = [position for position, stamp in enumerate(stamps) if stamp not in lacking]
        rows = self.stat_hashes.get([stamps[position] for position in there])
        found: list[str | None] = [None] * len(stamps)
        if rows is not None:  # damaged ones cost no more than reading the files
            digests = rows.take(np.arange(len(there))).tobytes().hex()
            for i, position in enumerate(there):
                found[position] = digests[64 * i : 64 * i + 64]
        return found

    def without_result(self, hashes: list[str]) -> Iterable[int]:
        """Return where in `hashes` are those without a verdict; one of several equal ones is enough."""
        return range(len(hashes)) if self.probe_results is None else self.probe_results.missing(hashes)

    def add(self, seen: Iterable[FileProbe]) -> None:
        """Keep what there is of those that were looked at; where there is no room, the next run looks again."""
        with suppress(CacheFull):
            self._add(list(seen))

    def _add(self, seen: list[FileProbe]) -> None:
        self._add_pixels({one.sha256: one.pixels for one in seen if one.pixels is not None})
        verdicts = {one.sha256: one.result for one in seen if one.sha256 and one.result is not None}
        if (
            self.probe_results is not None and verdicts
        ):  # after pixels: what has a verdict is not decoded by the next run
            rows = [_row(verdict) for verdict in verdicts.values()]
            self.probe_results.get_or_compute(list(verdicts), lambda missing: (rows[i] for i in missing))
        stamps = {one.stat_hash: one.sha256 for one in seen if one.stat_hash is not None}
        if self.stat_hashes is not None and stamps:
            digests = [np.frombuffer(bytes.fromhex(sha256), np.uint8) for sha256 in stamps.values()]
            self.stat_hashes.get_or_compute(list(stamps), lambda missing: (digests[i] for i in missing))

    def results(self, hashes: Sequence[str], reprobe: Callable[[int], ProbeResult]) -> list[ProbeResult]:
        """Return the verdicts on content that has one.

        `look_again(position)` is asked for one that proves to be damaged, or was removed meanwhile.
        """
        if not hashes:
            return []
        assert self.probe_results is not None  # then nothing was known
        try:
            rows = self.probe_results.get_or_compute(hashes, lambda missing: (_row(reprobe(i)) for i in missing))
        except CacheFull:
            return self._known_but_for_some(hashes, reprobe)
        return [_verdict(rows, position) for position in range(len(hashes))]

    def _known_but_for_some(self, hashes: Sequence[str], look_again: Callable[[int], ProbeResult]) -> list[ProbeResult]:
        """As `known`, where there is no room for the verdicts that are lacking."""
        assert self.probe_results is not None
        lacking = {hashes[position]: look_again(position) for position in self.probe_results.missing(hashes)}
        there = [sha256 for sha256 in hashes if sha256 not in lacking]
        if there and (rows := self.probe_results.get(there)) is not None:
            found = {sha256: _verdict(rows, position) for position, sha256 in enumerate(there)}
        else:  # none, or damaged
            found = {sha256: look_again(position) for position, sha256 in enumerate(hashes) if sha256 not in lacking}
        return [(lacking if sha256 in lacking else found)[sha256] for sha256 in hashes]

    def _add_pixels(self, pixels: Mapping[str, npt.NDArray[np.uint8]]) -> None:
        if self.pixels is None:
            for sha256, image in pixels.items():
                self.buffer.put(sha256, image)
        elif pixels:
            images = list(pixels.values())
            self.pixels.get_or_compute(list(pixels), lambda missing: (images[i] for i in missing))


def decoder_versions() -> dict[str, str | None]:
    """What decides on pixels besides our own rules: Pillow's libraries too, of which a distribution's has others."""
    return {
        "pillow": importlib.metadata.version("pillow"),
        "libjpeg_turbo": features.version_feature("libjpeg_turbo"),
        "littlecms2": features.version_module("littlecms2"),
    }


def plan_spaces(
    store: DiskCache | None,
    image_size: int,
    n_images: int,
    n_used: int | None = None,
    *,
    pixel_share: float = 1.0,
    options: DecodeOptions = DEFAULT_OPTIONS,
) -> CacheSpaces:
    """Return the spaces that have room in the store, by its budget and its disk: for what is known of so many images,
    and for the pixels of the `used` ones, at most, of them; default: of all. share: of the room that pixels may take;
    frozen activations save more, and want the rest.
    """
    n_used = n_images if n_used is None else n_used
    room = 0.0 if store is None or store.disabled else store.budget().nbytes
    if store is None or OVERHEAD_BYTES * n_images > room or not room:
        return CacheSpaces(image_size, None, None, None, MemoryBuffer(), options)
    decoder = {"decoder": decode.VERSION, **decoder_versions(), **options.key_fields()}
    fits = 3 * image_size**2 * n_used + OVERHEAD_BYTES * n_images <= pixel_share * room
    how = {"resize": decode.RESIZE_RULE, "image_size": image_size}
    return CacheSpaces(
        image_size,
        stat_hashes=store.space({"kind": "stamps"}),
        probe_results=store.space({"kind": "verdicts", **decoder}),
        pixels=store.space({"kind": "pixels", **decoder, **how}) if fits else None,
        buffer=MemoryBuffer(),
        decode_options=options,
    )


def _verdict(rows: CachedRows, position: int) -> ProbeResult:
    return ProbeResult(*json.loads(rows.row(position).tobytes()))


def _row(verdict: ProbeResult) -> npt.NDArray[np.uint8]:
    fields = [getattr(verdict, field.name) for field in dataclasses.fields(verdict)]
    return np.frombuffer(json.dumps(fields).encode(), np.uint8)

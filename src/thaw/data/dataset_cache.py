"""The cache's spaces of images: which content a file had, what that content is, and its pixels."""

import dataclasses
import importlib.metadata
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import features

from thaw.cache import CachedRows, CacheFull, DiskCache, RowStore
from thaw.data import decode
from thaw.data.decode import DEFAULT_OPTIONS, DecodeOptions
from thaw.data.pixel_stores import MemoryBuffer
from thaw.data.probe import FileProbe, ProbeResult

OVERHEAD_BYTES = 640  # at most: what the cache writes per image besides pixels (probe result, stat hash, index)


@dataclass(frozen=True)
class DatasetCache:
    """The spaces of one data set, None where the cache has no room."""

    image_size: int  # the side of the square to which larger pixels are squashed
    stat_hashes: RowStore | None  # by a file's stat hash: its content's sha256, uint8 (32,); spares reading the file
    probe_results: RowStore | None  # by sha256: a ProbeResult's fields as JSON, also of bad content; spares decoding
    pixels: RowStore | None  # by sha256: uint8 (h, w, 3), `DecodedImage.downsized(image_size)`
    buffer: MemoryBuffer  # holds pixels if `pixels` is None
    decode_options: DecodeOptions = DEFAULT_OPTIONS

    def known_hashes(self, stat_hashes: Sequence[str | None]) -> list[str]:
        """Return the sha256 of the files that had these stat hashes, "" where it is unknown or there is no file."""
        hashes = [""] * len(stat_hashes)
        wanted = [stat for stat in stat_hashes if stat is not None]
        if self.stat_hashes is None or not wanted:
            return hashes
        missing = {wanted[position] for position in self.stat_hashes.missing(wanted)} | {None}
        present = {position: stat for position, stat in enumerate(stat_hashes) if stat not in missing}
        rows = self.stat_hashes.get([stat for stat in present.values() if stat is not None])
        if rows is not None:  # if rows are damaged, the files are read
            digests = rows.take(np.arange(len(present))).tobytes().hex()
            for row, position in enumerate(present):
                hashes[position] = digests[64 * row : 64 * row + 64]
        return hashes

    def without_result(self, hashes: list[str]) -> Iterable[int]:
        """Return the positions in `hashes` of content without a probe result, only one of several that are equal."""
        return range(len(hashes)) if self.probe_results is None else self.probe_results.missing(hashes)

    def add(self, probes: Iterable[FileProbe]) -> None:
        """Store what probes found. What the cache has no room for is not stored, and the next run probes again."""
        probes = list(probes)
        with suppress(CacheFull):
            # Pixels come first: the next run does not decode content that has a probe result.
            self._add_pixels({probe.sha256: probe.pixels for probe in probes if probe.pixels is not None})
            self._add_results(probes)

    def _add_results(self, probes: Sequence[FileProbe]) -> None:
        results = {probe.sha256: probe.result for probe in probes if probe.sha256 and probe.result is not None}
        if self.probe_results is not None and results:
            rows = [_to_row(result) for result in results.values()]
            self.probe_results.get_or_compute(list(results), lambda missing: (rows[i] for i in missing))
        hashes = {probe.stat_hash: probe.sha256 for probe in probes if probe.stat_hash is not None}
        if self.stat_hashes is not None and hashes:
            digests = [np.frombuffer(bytes.fromhex(sha256), np.uint8) for sha256 in hashes.values()]
            self.stat_hashes.get_or_compute(list(hashes), lambda missing: (digests[i] for i in missing))

    def results(self, hashes: Sequence[str], reprobe: Callable[[int], ProbeResult]) -> list[ProbeResult]:
        """Return the probe results of content that has one.

        Args:
            hashes: The sha256 of the content.
            reprobe: Returns the result at a position in `hashes` whose row is damaged, or was removed meanwhile.
        """
        if not hashes:
            return []
        assert self.probe_results is not None  # otherwise no content has a result
        try:
            rows = self.probe_results.get_or_compute(hashes, lambda missing: (_to_row(reprobe(i)) for i in missing))
        except CacheFull:
            return self._results_when_full(hashes, reprobe)
        return [_from_row(rows, position) for position in range(len(hashes))]

    def _results_when_full(self, hashes: Sequence[str], reprobe: Callable[[int], ProbeResult]) -> list[ProbeResult]:
        """Return what `results` does, without storing those that are missing."""
        assert self.probe_results is not None
        results = {hashes[position]: reprobe(position) for position in self.probe_results.missing(hashes)}
        present = [sha256 for sha256 in hashes if sha256 not in results]
        if present and (rows := self.probe_results.get(present)) is not None:
            results |= {sha256: _from_row(rows, position) for position, sha256 in enumerate(present)}
        else:  # none is present, or rows are damaged
            results |= {sha256: reprobe(position) for position, sha256 in enumerate(hashes) if sha256 not in results}
        return [results[sha256] for sha256 in hashes]

    def _add_pixels(self, pixels: Mapping[str, npt.NDArray[np.uint8]]) -> None:
        if self.pixels is None:
            for sha256, image in pixels.items():
                self.buffer.put(sha256, image)
        elif pixels:
            images = list(pixels.values())
            self.pixels.get_or_compute(list(pixels), lambda missing: (images[i] for i in missing))


def decoder_versions() -> dict[str, str | None]:
    """Return the versions of the libraries that decide on pixels; a distribution's Pillow has others than the wheel."""
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
) -> DatasetCache:
    """Return the spaces that the cache's budget and its disk have room for.

    Args:
        store: The cache; None, or a disabled one, gives no space.
        image_size: The side of the square to which larger pictures are resized.
        n_images: How many images are probed.
        n_used: Of how many of them pixels are needed, at most; by default of all.
        pixel_share: The share of the room that pixels may take; frozen activations save more time, and need the rest.
        options: How images are decoded, part of the cache keys.
    """
    n_used = n_images if n_used is None else n_used
    room = 0.0 if store is None or store.disabled else store.budget().nbytes
    if store is None or OVERHEAD_BYTES * n_images > room or not room:
        return DatasetCache(image_size, None, None, None, MemoryBuffer(), options)
    decoder = {"decoder": decode.VERSION, **decoder_versions(), **options.key_fields()}
    resizing = {"resize": options.resize_rule, "image_size": image_size}
    fits = 3 * image_size**2 * n_used + OVERHEAD_BYTES * n_images <= pixel_share * room
    return DatasetCache(
        image_size,
        stat_hashes=store.space({"kind": "stamps"}),
        probe_results=store.space({"kind": "verdicts", **decoder}),
        pixels=store.space({"kind": "pixels", **decoder, **resizing}) if fits else None,
        buffer=MemoryBuffer(),
        decode_options=options,
    )


def _from_row(rows: CachedRows, position: int) -> ProbeResult:
    return ProbeResult(*json.loads(rows.row(position).tobytes()))


def _to_row(result: ProbeResult) -> npt.NDArray[np.uint8]:
    return np.frombuffer(json.dumps(dataclasses.astuple(result)).encode(), np.uint8)

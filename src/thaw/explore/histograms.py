"""What the pictures are like as a whole, in counts: the bars of the page."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thaw.explore.image_stats import ImageStats
from thaw.explore.scanned_images import ScannedImages

MAX_BARS = 10  # sizes, modes and types that get a bar of their own

ASPECT_RATIOS = (
    (0.5, "taller than 1:2"),
    (0.74, "1:2 to 3:4"),
    (0.98, "3:4 to square"),
    (1.02, "square"),
    (1.35, "square to 4:3"),
    (2.0, "4:3 to 2:1"),
    (np.inf, "wider than 2:1"),
)


@dataclass(frozen=True)
class Bar:
    """A count and its share of the largest one beside it, in percent."""

    label: str
    count: int
    percent: float


def bar_charts(pictures: ScannedImages, looks: ImageStats) -> list[tuple[str, list[Bar]]]:
    """Captions and bars: sizes, aspect ratios, brightness, contrast, file types, modes."""
    widths, heights = pictures.pixels.widths, pictures.pixels.heights
    sizes = Counter(f"{w}x{h}" for w, h in zip(widths.tolist(), heights.tolist(), strict=True))
    found = [
        ("Sizes in pixels", top_bars(sizes)),
        ("Aspect ratios", _between(widths / heights, ASPECT_RATIOS)),
        ("Brightness (mean, 0-255)", _between(looks.brightness, _steps(32, 256))),
        ("Contrast (deviation, 0-128)", _between(looks.contrast, _steps(16, 128))),
        ("Modes", top_bars(Counter(pictures.modes))),
    ]
    if any(pictures.formats):
        found.append(("File types, by content", top_bars(Counter(pictures.formats))))
        found.append(("File sizes", _between(pictures.file_sizes, _BYTES)))
    return found


def top_bars(counts: Counter[str]) -> list[Bar]:
    """The most frequent ones, and the rest as one bar."""
    top = counts.most_common(MAX_BARS)
    rest = counts.total() - sum(count for _, count in top)
    return make_bars([*top, (f"{len(counts) - MAX_BARS} others", rest)] if rest else top)


def make_bars(counts: Iterable[tuple[str, int]]) -> list[Bar]:
    counts = list(counts)
    most = max((count for _, count in counts), default=1) or 1
    return [Bar(label, count, round(100 * count / most, 1)) for label, count in counts]


_BYTES = (
    (1e3, "up to 1 kB"),
    (1e4, "1 to 10 kB"),
    (1e5, "10 to 100 kB"),
    (1e6, "100 kB to 1 MB"),
    (1e7, "1 to 10 MB"),
    (np.inf, "more than 10 MB"),
)


def _steps(step: int, end: int) -> tuple[tuple[float, str], ...]:
    return tuple((float(low + step), f"{low} to {low + step}") for low in range(0, end, step))


def _between(values: npt.NDArray[np.generic], bounds: tuple[tuple[float, str], ...]) -> list[Bar]:
    """Count values up to each bound and above the one before it."""
    place = np.searchsorted([bound for bound, _ in bounds], values.astype(float))
    counts = np.bincount(np.minimum(place, len(bounds) - 1), minlength=len(bounds))
    return make_bars(zip((label for _, label in bounds), counts.tolist(), strict=True))

"""Bar charts of the whole data set: sizes, aspect ratios, brightness, contrast, modes and file types."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thaw.explore.image_stats import ImageStats
from thaw.explore.scanned_images import ScannedImages

MAX_BARS = 10  # sizes, modes and types that get a bar of their own

ASPECT_RATIOS = (  # upper bounds of width to height
    (0.5, "taller than 1:2"),
    (0.74, "1:2 to 3:4"),
    (0.98, "3:4 to square"),
    (1.02, "square"),
    (1.35, "square to 4:3"),
    (2.0, "4:3 to 2:1"),
    (np.inf, "wider than 2:1"),
)
FILE_SIZES = (  # upper bounds in bytes
    (1e3, "up to 1 kB"),
    (1e4, "1 to 10 kB"),
    (1e5, "10 to 100 kB"),
    (1e6, "100 kB to 1 MB"),
    (1e7, "1 to 10 MB"),
    (np.inf, "more than 10 MB"),
)


@dataclass(frozen=True)
class Bar:
    """A count, and its share of the largest count in the chart in percent."""

    label: str
    count: int
    percent: float


def bar_charts(images: ScannedImages, stats: ImageStats) -> list[tuple[str, list[Bar]]]:
    """Return captions and bars of all charts; those of files only for images that are files."""
    widths, heights = images.pixels.widths, images.pixels.heights
    sizes = Counter(f"{w}x{h}" for w, h in zip(widths.tolist(), heights.tolist(), strict=True))
    charts = [
        ("Sizes in pixels", top_bars(sizes)),
        ("Aspect ratios", _histogram(widths / heights, ASPECT_RATIOS)),
        ("Brightness (mean, 0-255)", _histogram(stats.brightness, _equal_bins(32, 256))),
        ("Contrast (deviation, 0-128)", _histogram(stats.contrast, _equal_bins(16, 128))),
        ("Modes", top_bars(Counter(images.modes))),
    ]
    if any(images.formats):
        charts.append(("File types, by content", top_bars(Counter(images.formats))))
        charts.append(("File sizes", _histogram(images.file_sizes, FILE_SIZES)))
    return charts


def top_bars(counts: Counter[str]) -> list[Bar]:
    """Return bars of the most frequent items, and one for all others."""
    top = counts.most_common(MAX_BARS)
    rest = counts.total() - sum(count for _, count in top)
    return make_bars([*top, (f"{len(counts) - MAX_BARS} others", rest)] if rest else top)


def make_bars(counts: Iterable[tuple[str, int]]) -> list[Bar]:
    """Return a bar for each label and count."""
    counts = list(counts)
    largest = max((count for _, count in counts), default=1) or 1
    return [Bar(label, count, round(100 * count / largest, 1)) for label, count in counts]


def _equal_bins(width: int, end: int) -> tuple[tuple[float, str], ...]:
    return tuple((float(low + width), f"{low} to {low + width}") for low in range(0, end, width))


def _histogram(values: npt.NDArray[np.generic], bins: tuple[tuple[float, str], ...]) -> list[Bar]:
    """Count values up to each upper bound and above the one before it; larger ones count in the last bin."""
    bounds, labels = zip(*bins, strict=True)
    indices = np.minimum(np.searchsorted(bounds, values.astype(float)), len(bins) - 1)
    return make_bars(zip(labels, np.bincount(indices, minlength=len(bins)).tolist(), strict=True))

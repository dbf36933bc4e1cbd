"""Findings: bad files, duplicates, likely wrong labels, outliers and unusual images; each names its files."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from thaw.data import bit_depth
from thaw.explore.image_stats import ImageStats
from thaw.explore.label_errors import LabelScores
from thaw.explore.near_duplicates import SimilarPair, outlier_threshold
from thaw.explore.scanned_images import ScannedImages

MAX_PLAIN_CONTRAST = 2.0  # standard deviation of luma, 0-255
MAX_DARK_LUMA, MIN_BRIGHT_LUMA = 16.0, 245.0  # mean luma
MIN_LONG_RATIO = 3.0  # longer side to shorter side
MAX_TINY_SHARE = 0.1  # of the data set's median number of pixels

_SAME_FORMAT = {"MPO": "JPEG", "DIB": "BMP"}  # formats that Pillow distinguishes and thaw does not


@dataclass(frozen=True)
class FindingKind:
    """A kind of finding: its title, what it means for training, and the name of its score."""

    title: str
    meaning: str
    score_name: str = ""


FINDING_KINDS = {
    "bad_file": FindingKind(
        "Files that cannot be used", "A run stops at them, or leaves them out with dataset.on_bad=quarantine."
    ),
    "exact_duplicate": FindingKind(
        "Exact duplicates",
        "The same bytes twice. In two splits, the test is not a test; in two classes, one label is wrong.",
    ),
    "near_duplicate": FindingKind(
        "Near duplicates",
        "Encoded anew, resized, cropped, mirrored, or taken a moment later, by the cosine of their features.",
        "cosine",
    ),
    "mislabelled": FindingKind(
        "Likely wrong labels",
        "A classifier that was trained on the other pictures sees another class, and gives the label little "
        "probability. The least probable labels come first; further down more and more of them are right, only hard.",
        "probability",
    ),
    "odd_one_out": FindingKind(
        "Odd ones out",
        "Unlike any others: perhaps not of this data set. The local outlier factor is about 1 for most pictures.",
        "outlier factor",
    ),
    "plain": FindingKind("Next to nothing to see", "One colour all over.", "contrast"),
    "dark": FindingKind("Very dark", "Underexposed, or a lens cap.", "brightness, of 255:"),
    "shallow": FindingKind(
        "Little used of 16 bits a channel",
        "Nearly black for a network, whatever a viewer shows: with data of 12 bits, dataset.bits=12.",
        "highest value",
    ),
    "bright": FindingKind("Very bright", "Overexposed, or an empty page.", "brightness, of 255:"),
    "long": FindingKind(
        "Very long or tall", "Squashed to a square, little of them is recognised.", "longer side to shorter"
    ),
    "tiny": FindingKind("Tiny", "Less than a tenth of the data set's median in pixels.", "share of the median"),
    "part": FindingKind("Only a part is used", "Of an animation or a file of several pictures, the first one."),
    "wrong_ending": FindingKind("Wrong endings", "The content is of another format. It is read by its content."),
}


@dataclass(frozen=True)
class Finding:
    """One finding on an image, on a pair of images, or on a file that cannot be read."""

    kind: str  # of FINDING_KINDS
    file: str
    class_name: str
    split: str
    row: int | None = None  # None for a file that cannot be read
    score: float | None = None
    other_file: str = ""
    other_class: str = ""  # of the second image, or the class that the probe suggests
    other_split: str = ""
    other_row: int | None = None  # None where there is no second image
    note: str = ""

    @property
    def across_classes(self) -> bool:
        """Whether two images have different labels."""
        return self.other_row is not None and self.class_name != self.other_class

    @property
    def across_splits(self) -> bool:
        """Whether two images are in different splits."""
        return bool(self.split and self.other_split) and self.split != self.other_split


def bad_files(images: ScannedImages) -> list[Finding]:
    """Return the files that cannot be used."""
    return [Finding("bad_file", bad.name, bad.label, "", note=f"{bad.kind}: {bad.reason}") for bad in images.bad_files]


def exact_duplicates(images: ScannedImages) -> list[Finding]:
    """Return each further file of the same content, with the first one; pairs across classes or splits come first."""
    first: dict[str, int] = {}
    pairs = [(row, first.setdefault(digest, row)) for row, digest in enumerate(images.pixels.sha256)]
    return _across_first([_pair("exact_duplicate", images, row, other) for row, other in pairs if row != other])


def near_duplicates(images: ScannedImages, pairs: list[SimilarPair]) -> list[Finding]:
    """Return pairs of similar images; pairs across classes or splits come first."""
    return _across_first([_pair("near_duplicate", images, p.row, p.other_row, p.cosine) for p in pairs])


def mislabelled(images: ScannedImages, labels: LabelScores) -> list[Finding]:
    """Return likely wrong labels, the least probable first."""
    return [
        _single("mislabelled", images, row, float(labels.quality[row]), images.class_names[labels.suggested[row]])
        for row in labels.suspects
    ]


def outliers(images: ScannedImages, rows: np.ndarray, scores: np.ndarray) -> list[Finding]:
    """Return images above the threshold; rows, scores: (M,) each, of `near_duplicates.outlier_scores`."""
    above = np.flatnonzero(scores > outlier_threshold(scores))
    order = above[np.argsort(-scores[above], kind="stable")]
    return [_single("odd_one_out", images, int(rows[i]), float(scores[i])) for i in order]


def unusual_images(images: ScannedImages, stats: ImageStats) -> list[Finding]:
    """Return plain, dark, shallow, bright, long and tiny images, parts of files, and wrong suffixes."""
    sides = np.stack([images.pixels.widths, images.pixels.heights]).astype(float)
    ratio, area = sides.max(axis=0) / sides.min(axis=0), sides.prod(axis=0)
    share = area / np.median(area)
    plain = stats.contrast < MAX_PLAIN_CONTRAST
    shallow = np.array([bit_depth.uses_few_bits(value) for value in images.max_values], bool)
    max_values = np.array([value or 0 for value in images.max_values])
    found = [
        *_where("plain", images, plain, stats.contrast),
        *_where("dark", images, (stats.brightness < MAX_DARK_LUMA) & ~plain, stats.brightness),
        *_where("shallow", images, shallow, max_values),
        *_where("bright", images, (stats.brightness > MIN_BRIGHT_LUMA) & ~plain, -stats.brightness),
        *_where("long", images, ratio > MIN_LONG_RATIO, -ratio),
        *_where("tiny", images, share < MAX_TINY_SHARE, share),
    ]
    parts = [_single("part", images, row, note=note) for row, note in enumerate(images.notes) if note]
    return [*found, *parts, *_wrong_suffixes(images)]


def _wrong_suffixes(images: ScannedImages) -> Iterator[Finding]:
    Image.init()
    format_of_suffix = Image.registered_extensions()
    for row, content in enumerate(images.formats):
        suffix = images.name(row).rpartition(".")[2].lower()
        named = format_of_suffix.get(f".{suffix}", "")
        if content and named and _SAME_FORMAT.get(named, named) != content:
            yield _single("wrong_ending", images, row, note=f"its content is {content}")


def _where(kind: str, images: ScannedImages, mask: np.ndarray, scores: np.ndarray) -> list[Finding]:
    """Return a finding for each image of the mask, the lowest score first; the sign of scores is not shown."""
    rows = np.flatnonzero(mask)
    ordered = rows[np.argsort(scores[rows], kind="stable")]
    return [_single(kind, images, int(row), float(abs(scores[row]))) for row in ordered]


def _single(
    kind: str, images: ScannedImages, row: int, score: float | None = None, suggested: str = "", note: str = ""
) -> Finding:
    where = images.name(row), images.class_name(row), images.splits[row]
    return Finding(kind, *where, row, score, other_class=suggested, note=note)


def _pair(kind: str, images: ScannedImages, row: int, other: int, score: float | None = None) -> Finding:
    where, other_where = ((images.name(i), images.class_name(i), images.splits[i]) for i in (row, other))
    return Finding(kind, *where, row, score, *other_where, other)


def _across_first(findings: list[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda f: (not f.across_classes, not f.across_splits))  # stable: scores stay in order

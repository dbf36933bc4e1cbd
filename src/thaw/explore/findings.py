"""What deserves a look, finding by finding; each names its files."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from thaw.data import bit_depth
from thaw.explore.image_stats import ImageStats
from thaw.explore.label_errors import LabelScores
from thaw.explore.neighbors import SimilarPair, outlier_threshold
from thaw.explore.scanned_images import ScannedImages

MAX_PLAIN_CONTRAST = 2.0  # contrast, the standard deviation of luma 0-255: below it there is next to nothing to see
MAX_DARK_LUMA, MIN_BRIGHT_LUMA = 16.0, 245.0  # mean luma
MIN_LONG_RATIO = 3.0  # longer side to shorter: squashed to a network's square, little is recognised
MAX_TINY_SHARE = 0.1  # of the median number of pixels

# Formats of suffixes that Pillow tells apart, and thaw does not.
_SAME = {"MPO": "JPEG", "DIB": "BMP"}


@dataclass(frozen=True)
class FindingKind:
    """A kind of finding: its title, what it means for training, and what its score is."""

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
    """One finding. file, label, split: of the picture; other_...: of the second one, where there are two.

    row, other_row: of the pictures; None of a file that cannot be read, and where there is no second one.
    """

    kind: str
    file: str
    class_name: str
    split: str
    row: int | None = None
    score: float | None = None
    other_file: str = ""
    other_class: str = ""  # of the second picture, or the class that the probe suggests
    other_split: str = ""
    other_row: int | None = None
    note: str = ""

    @property
    def across_classes(self) -> bool:
        """Two pictures under two labels."""
        return self.other_row is not None and self.class_name != self.other_class

    @property
    def across_splits(self) -> bool:
        """Two pictures in two splits."""
        return bool(self.split and self.other_split) and self.split != self.other_split


def bad_files(pictures: ScannedImages) -> list[Finding]:
    return [
        Finding("bad_file", bad.name, bad.label, "", note=f"{bad.kind}: {bad.reason}") for bad in pictures.bad_files
    ]


def exact_duplicates(pictures: ScannedImages) -> list[Finding]:
    """Every further file of the same content, with the first; those that cross classes or splits come first."""
    first: dict[str, int] = {}
    pairs = []
    for row, digest in enumerate(pictures.pixels.sha256):
        if first.setdefault(digest, row) != row:
            pairs.append((row, first[digest]))
    return _worst_first([_of_two("exact_duplicate", pictures, row, other) for row, other in pairs])


def near_duplicates(pictures: ScannedImages, pairs: list[SimilarPair]) -> list[Finding]:
    return _worst_first([_of_two("near_duplicate", pictures, p.row, p.other_row, p.cosine) for p in pairs])


def mislabelled(pictures: ScannedImages, labels: LabelScores) -> list[Finding]:
    names = pictures.class_names
    return [
        _of_one("mislabelled", pictures, row, float(labels.quality[row]), names[labels.suggested[row]])
        for row in labels.suspects
    ]


def outliers(pictures: ScannedImages, rows: np.ndarray, scores: np.ndarray) -> list[Finding]:
    """rows, scores: (M,) each, as `neighbours.oddness` gives them."""
    far = np.flatnonzero(scores > outlier_threshold(scores))
    order = far[np.argsort(-scores[far], kind="stable")]
    return [_of_one("odd_one_out", pictures, int(rows[i]), float(scores[i])) for i in order]


def by_statistics(pictures: ScannedImages, looks: ImageStats) -> list[Finding]:
    """Plain, dark, bright, long, tiny and shallow pictures, parts of files, and wrong endings."""
    across = np.stack([pictures.pixels.widths, pictures.pixels.heights]).astype(float)
    longer, area = across.max(axis=0) / across.min(axis=0), across.prod(axis=0)
    share = area / np.median(area)
    plain = looks.contrast < MAX_PLAIN_CONTRAST
    shallow = np.array([bit_depth.uses_few_bits(value) for value in pictures.highest_values], bool)
    highest = np.array([value or 0 for value in pictures.highest_values])
    found = [
        *_where("plain", pictures, plain, looks.contrast),
        *_where("dark", pictures, (looks.brightness < MAX_DARK_LUMA) & ~plain, looks.brightness),
        *_where("shallow", pictures, shallow, highest),
        *_where("bright", pictures, (looks.brightness > MIN_BRIGHT_LUMA) & ~plain, -looks.brightness),
        *_where("long", pictures, longer > MIN_LONG_RATIO, -longer),
        *_where("tiny", pictures, share < MAX_TINY_SHARE, share),
    ]
    parts = [_of_one("part", pictures, row, note=note) for row, note in enumerate(pictures.notes) if note]
    return [*found, *parts, *_wrong_endings(pictures)]


def _wrong_endings(pictures: ScannedImages) -> Iterator[Finding]:
    Image.init()
    formats = Image.registered_extensions()
    for row, found in enumerate(pictures.formats):
        suffix = pictures.name(row).rpartition(".")[2].lower()
        said = formats.get(f".{suffix}", "")
        if found and said and _SAME.get(said, said) != found:
            yield _of_one("wrong_ending", pictures, row, note=f"its content is {found}")


def _where(kind: str, pictures: ScannedImages, mask: np.ndarray, scores: np.ndarray) -> list[Finding]:
    rows = np.flatnonzero(mask)
    return [
        _of_one(kind, pictures, int(row), float(abs(scores[row])))
        for row in rows[np.argsort(scores[rows], kind="stable")]
    ]


def _of_one(
    kind: str, pictures: ScannedImages, row: int, score: float | None = None, suggested: str = "", note: str = ""
) -> Finding:
    return Finding(
        kind,
        pictures.name(row),
        pictures.class_name(row),
        pictures.splits[row],
        row,
        score,
        other_class=suggested,
        note=note,
    )


def _of_two(kind: str, pictures: ScannedImages, row: int, other: int, score: float | None = None) -> Finding:
    return Finding(
        kind, pictures.name(row), pictures.class_name(row), pictures.splits[row], row, score,
        pictures.name(other), pictures.class_name(other), pictures.splits[other], other,
    )  # fmt: skip


def _worst_first(found: list[Finding]) -> list[Finding]:
    return sorted(found, key=lambda f: (not f.across_classes, not f.across_splits))  # stable: scores stay in order

"""Images that an evaluated network has seen before: found by the hash of their files in the manifests of its runs."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from thaw import tracking
from thaw.common.console import printable
from thaw.common.csv_text import spreadsheet_text
from thaw.common.errors import joined
from thaw.data import manifest
from thaw.tracking import LineageRun

SEEN_FILE = "seen.csv"
COLUMNS = ("image", "split", "run", "image_in_run")
TRAINED, VALIDATED = "train", "val"  # validation chose the epoch, and the temperature


@dataclass(frozen=True)
class SeenImage:
    """An image of a run behind the network. split: train or val. file: its name in that run's data set."""

    run_id: str
    split: str
    file: str


@dataclass(frozen=True)
class TrainingRecord:
    """What the network's run, and the runs that its backbone's weights come from, were trained and validated on.

    images: by the sha256 of the file. class_counts: training images of the network's own run by class; None if unknown.
    run_ids: latest first. unknown: runs and files of which no record is left.
    """

    images: Mapping[str, SeenImage]
    class_counts: Mapping[str, int] | None
    run_ids: Sequence[str]
    unknown: Sequence[str]

    def find(self, sha256: Sequence[str]) -> list[SeenImage | None]:
        """Return what is known of the images with these hashes, None of one that was not seen."""
        return [self.images.get(digest) for digest in sha256]

    def unknown_line(self) -> str:
        """Return which part of the record is missing; empty if it is whole."""
        if not self.unknown:
            return ""
        what = joined(printable(name) for name in self.unknown)
        return (
            f"what {what} trained on is not known: no manifest.csv belongs to it. Images that the network has seen may "
            "be among those that count as unseen"
        )


def read_training_record(weights: str, uri: str, outputs: Path) -> TrainingRecord:
    """Return the record of the network that `weights` names: a run's id or folder, or a network's .keras file.

    All that its own run trained and validated on counts; of the runs before it, what changed the backbone or chose
    among its epochs, as a head alone does not come along.
    """
    lineage = tracking.weights_lineage(weights, uri, outputs)
    images: dict[str, SeenImage] = {}
    unknown: list[str] = [] if lineage.unknown is None else [lineage.unknown]
    class_counts: Counter[str] | None = None
    for place, run in enumerate(lineage.runs):
        if place and not run.backbone_trained:
            continue
        try:
            counts = _add(images, run)
        except (OSError, KeyError):
            unknown.append(run.id)
            continue
        class_counts = class_counts if place else counts
    return TrainingRecord(images, class_counts, [run.id for run in lineage.runs], list(dict.fromkeys(unknown)))


def _add(images: dict[str, SeenImage], run: LineageRun) -> Counter[str]:
    """Add a run's images, and return its training images by class. Training counts before validation, later runs first.

    Rows of earlier versions have no class.
    """
    counts: Counter[str] = Counter()
    for row in manifest.read_rows(run.manifest):
        split, sha256 = row["split"], row["sha256"]
        if split not in (TRAINED, VALIDATED):
            continue
        known = images.get(sha256)
        if known is None or (known.split, split) == (VALIDATED, TRAINED):
            images[sha256] = SeenImage(run.id, split, row["path"])
        if split == TRAINED:
            counts[row.get("label") or ""] += 1
    return counts


def count_seen(seen: Iterable[SeenImage | None]) -> dict[str, int]:
    """Return how many images were trained on and how many only validated on, by `train` and `val`."""
    counts = Counter(image.split for image in seen if image is not None)
    return {split: counts[split] for split in (TRAINED, VALIDATED)}


def describe_seen(counts: Mapping[str, int]) -> str:
    """Return counts of `count_seen` as `12 images were trained on, 3 validated on`; empty for none."""
    trained, validated = counts[TRAINED], counts[VALIDATED]
    if not trained and not validated:
        return ""
    first, verb = (trained, "trained") if trained else (validated, "validated")
    text = f"{first:,} {'image was' if first == 1 else 'images were'} {verb} on"
    return f"{text}, {validated:,} validated on" if trained and validated else text


def seen_csv(images: Sequence[tuple[str, SeenImage]]) -> str:
    """Return a row for each seen image, given with its name in the evaluated data set, as CSV of `COLUMNS`."""
    return spreadsheet_text(COLUMNS, ((name, seen.split, seen.run_id, seen.file) for name, seen in images))

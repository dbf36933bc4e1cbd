"""The CSV files findings.csv, images.csv and groups.csv, and the short tables in the terminal."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from rich.table import Table

from thaw.common.console import printable
from thaw.common.csv_text import csv_text, spreadsheet_text
from thaw.data.catalog import SPLIT_NAMES, UNASSIGNED
from thaw.data.splits import group_ids
from thaw.explore.findings import Finding
from thaw.explore.html_page import class_rows, finding_sections, used_splits
from thaw.explore.image_stats import ImageStats
from thaw.explore.label_errors import LabelScores
from thaw.explore.near_duplicates import Neighbors, SimilarPair
from thaw.explore.scanned_images import ScannedImages

FINDING_COLUMNS = ("kind", "file", "class", "split", "score", "other_file", "other_class", "other_split", "note")
IMAGE_COLUMNS = (
    "file", "sha256", "class", "split", "format", "mode", "note", "width", "height", "bytes", "brightness", "contrast",
    "label_probability", "suggested_class", "oddness", "nearest_file", "similarity",
)  # fmt: skip
GROUP_COLUMNS = ("path", "label", "split", "group")
MAX_CLASSES_IN_TABLE = 20


def findings_csv(findings: Sequence[Finding]) -> str:
    """Return one row for each finding; other_class: of the second file, or the class that the probe suggests."""
    rows = (
        (f.kind, f.file, f.class_name, f.split, _number(f.score), f.other_file, f.other_class, f.other_split, f.note)
        for f in findings
    )
    return spreadsheet_text(FINDING_COLUMNS, rows)


def images_csv(
    images: ScannedImages, stats: ImageStats, labels: LabelScores, neighbors: Neighbors, outlier_scores: np.ndarray
) -> str:
    """Return one row for each image; nearest_file: the most similar one of other content."""
    pixels = images.pixels
    position = {pixels.sha256[row]: i for i, row in enumerate(neighbors.rows.tolist())}
    rows = []
    for row in range(len(images)):
        i = position[pixels.sha256[row]]
        nearest = int(neighbors.rows[neighbors.indices[i, 0]])
        rows.append((
            images.name(row), pixels.sha256[row], images.class_name(row), images.splits[row],
            images.formats[row], images.modes[row], images.notes[row], pixels.widths[row], pixels.heights[row],
            images.file_sizes[row] or "", _number(stats.brightness[row]), _number(stats.contrast[row]),
            _number(labels.quality[row]), images.class_names[labels.suggested[row]],
            _number(outlier_scores[i]), images.name(nearest), _number(neighbors.cosines[i, 0]),
        ))  # fmt: skip
    return spreadsheet_text(IMAGE_COLUMNS, rows)


def groups_csv(images: ScannedImages, pairs: Sequence[SimilarPair]) -> str:
    """Return the data set as `dataset=csv` reads it, near duplicates in groups that stay on one side of a split."""
    return csv_text(GROUP_COLUMNS, group_rows(images, pairs))


def group_rows(images: ScannedImages, pairs: Sequence[SimilarPair]) -> Iterator[tuple[str, str, str, str]]:
    """Yield path, label, split and group of every image; exact duplicates need no group, a run groups them itself.

    The split is empty where the source assigns none. Images that it assigns to different splits are not grouped: no
    split could keep them together, and the findings name them. The source's own groups stay, and grow.
    """
    catalog, indices = images.pixels.catalog, images.pixels.indices
    assigned = catalog.assigned_splits[indices]
    source_groups = [catalog.groups[i] for i in indices] if catalog.groups else [""] * len(indices)
    numbers = group_ids([""] * len(indices), source_groups, [(pair.row, pair.other_row) for pair in pairs])
    group_split = np.full(numbers.max() + 1, UNASSIGNED, assigned.dtype)
    np.maximum.at(group_split, numbers, assigned)
    splits = np.where(assigned == UNASSIGNED, group_split[numbers], assigned)  # unassigned images join their group's
    names = [
        f"group {n}" + (f" {SPLIT_NAMES[s]}" if s != UNASSIGNED else "") for n, s in zip(numbers, splits, strict=True)
    ]
    counts = Counter(names)
    for row, name in enumerate(names):
        split = SPLIT_NAMES[assigned[row]] if assigned[row] != UNASSIGNED else ""
        group = name if counts[name] > 1 or source_groups[row] else ""
        yield os.path.abspath(images.path(row) or ""), images.class_name(row), split, group  # noqa: PTH100


def class_table(images: ScannedImages, findings: Sequence[Finding]) -> Table:
    """Return the images of each class and split; of many classes the largest and the smallest."""
    rows = class_rows(images, findings)
    title = None
    if len(rows) > MAX_CLASSES_IN_TABLE:
        title = f"the largest and smallest of {len(rows)} classes"
        ordered = sorted(rows, key=lambda row: -row.count)
        rows = ordered[: MAX_CLASSES_IN_TABLE // 2] + ordered[-MAX_CLASSES_IN_TABLE // 2 :]
    splits = used_splits(images)
    table = Table(title=title)
    table.add_column("class", overflow="fold")
    for column in ("images", *splits, "findings"):
        table.add_column(column, justify="right")
    for row in rows:
        counts = (row.count, *(row.splits[name] for name in splits), row.findings)
        table.add_row(printable(row.name), *(f"{count:,}" for count in counts))
    return table


def finding_table(findings: Sequence[Finding]) -> Table:
    """Return the findings by kind, with the first file of each."""
    table = Table()
    table.add_column("finding", no_wrap=True)
    for column in ("count", "across classes", "across splits"):
        table.add_column(column, justify="right")
    table.add_column("the first", overflow="fold")
    for section in finding_sections(findings, 1):
        first = section.findings[0]
        second = f" ({first.class_name}: rather {first.other_class}?)" if section.kind == "mislabelled" else ""
        if first.other_file:
            second = f" {'=' if section.kind == 'exact_duplicate' else '≈'} {first.other_file}"
        table.add_row(
            section.title, f"{section.count:,}", section.across_classes, section.across_splits,
            printable(first.file + second),
        )  # fmt: skip
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"

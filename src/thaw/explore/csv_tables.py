"""The CSV files, for programs, and the short tables in the terminal."""

from collections.abc import Iterator, Sequence

import numpy as np
from rich.table import Table

from thaw.common.console import printable
from thaw.common.csv_text import csv_text, spreadsheet_text
from thaw.explore import near_duplicate_groups
from thaw.explore.findings import Finding
from thaw.explore.html_page import class_rows, finding_sections, used_splits
from thaw.explore.image_stats import ImageStats
from thaw.explore.label_errors import LabelScores
from thaw.explore.neighbors import Neighbors, SimilarPair
from thaw.explore.scanned_images import ScannedImages

FINDING_COLUMNS = ("kind", "file", "class", "split", "score", "other_file", "other_class", "other_split", "note")
IMAGE_COLUMNS = (
    "file", "sha256", "class", "split", "format", "mode", "note", "width", "height", "bytes", "brightness", "contrast",
    "label_probability", "suggested_class", "oddness", "nearest_file", "similarity",
)  # fmt: skip
MAX_CLASSES_IN_TABLE = 20  # classes in the terminal


def findings_csv(found: Sequence[Finding]) -> str:
    """One row a finding. other_class: of the second file, or the class that the probe suggests."""
    return spreadsheet_text(
        FINDING_COLUMNS,
        (
            (
                f.kind,
                f.file,
                f.class_name,
                f.split,
                _number(f.score),
                f.other_file,
                f.other_class,
                f.other_split,
                f.note,
            )
            for f in found
        ),
    )


def images_csv(
    pictures: ScannedImages, looks: ImageStats, labels: LabelScores, neighbours: Neighbors, oddness: np.ndarray
) -> str:
    """One row an image. nearest_file: the most similar one of other content."""
    return spreadsheet_text(IMAGE_COLUMNS, _images(pictures, looks, labels, neighbours, oddness))


def groups_csv(pictures: ScannedImages, pairs: Sequence[SimilarPair]) -> str:
    """The data set as `dataset=csv` reads it, near duplicates in groups."""
    return csv_text(near_duplicate_groups.GROUP_COLUMNS, near_duplicate_groups.group_rows(pictures, pairs))


def _images(
    pictures: ScannedImages, looks: ImageStats, labels: LabelScores, neighbours: Neighbors, oddness: np.ndarray
) -> Iterator[tuple[object, ...]]:
    pixels = pictures.pixels
    position = {pixels.sha256[row]: i for i, row in enumerate(neighbours.rows.tolist())}
    for row in range(len(pictures)):
        i = position[pixels.sha256[row]]
        nearest = int(neighbours.rows[neighbours.indices[i, 0]])
        yield (
            pictures.name(row), pixels.sha256[row], pictures.class_name(row), pictures.splits[row],
            pictures.formats[row], pictures.modes[row], pictures.notes[row], pixels.widths[row], pixels.heights[row],
            pictures.file_sizes[row] or "", _number(looks.brightness[row]), _number(looks.contrast[row]),
            _number(labels.quality[row]), pictures.class_names[labels.suggested[row]],
            _number(oddness[i]), pictures.name(nearest), _number(neighbours.cosines[i, 0]),
        )  # fmt: skip


def class_table(pictures: ScannedImages, found: Sequence[Finding]) -> Table:
    """Images a class and split; of many classes the largest and the smallest."""
    rows = class_rows(pictures, found)
    title = None
    if len(rows) > MAX_CLASSES_IN_TABLE:
        title = f"the largest and smallest of {len(rows)} classes"
        ordered = sorted(rows, key=lambda own: -own.count)
        rows = ordered[: MAX_CLASSES_IN_TABLE // 2] + ordered[-MAX_CLASSES_IN_TABLE // 2 :]
    splits = used_splits(pictures)
    table = Table(title=title)
    table.add_column("class", overflow="fold")
    for column in ("images", *splits, "findings"):
        table.add_column(column, justify="right")
    for own in rows:
        table.add_row(
            printable(own.name), f"{own.count:,}", *(f"{own.splits[name]:,}" for name in splits), f"{own.findings:,}"
        )
    return table


def finding_table(found: Sequence[Finding]) -> Table:
    """Findings by kind, with the first file of each."""
    table = Table()
    table.add_column("finding", no_wrap=True)
    for column in ("count", "across classes", "across splits"):
        table.add_column(column, justify="right")
    table.add_column("the first", overflow="fold")
    for section in finding_sections(found, 1):
        first = section.findings[0]
        about = f" ({first.class_name}: rather {first.other_class}?)" if section.kind == "mislabelled" else ""
        sign = "=" if section.kind == "exact_duplicate" else "≈"
        second = f" {sign} {first.other_file}" if first.other_file else about
        table.add_row(
            section.title, f"{section.count:,}", section.across_classes, section.across_splits,
            printable(first.file + second),
        )  # fmt: skip
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"

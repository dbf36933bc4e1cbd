"""explore.html: one file with all images in it, which opens from disk and needs no network."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from thaw.common.parallel import prefetch_map, with_progress
from thaw.data.catalog import SPLIT_NAMES
from thaw.data.thumbnails import jpeg_uri, thumbnail_jpeg
from thaw.explore import histograms
from thaw.explore.findings import FINDING_KINDS, Finding
from thaw.explore.image_stats import ImageStats
from thaw.explore.scanned_images import ScannedImages

MAX_SHEET_IMAGES = 2000  # images on all contact sheets together: 6 MB, which a phone still opens
TEXT_ONLY_FACTOR = 10  # so many more findings are shown of kinds without an image, which need less room


@dataclass(frozen=True)
class FindingSection:
    """The findings of a kind: those that are shown, and the counts of all."""

    kind: str
    title: str
    meaning: str
    score_name: str
    findings: list[Finding]
    count: int
    across_classes: str  # empty where no finding is a pair
    across_splits: str


@dataclass(frozen=True)
class ClassRow:
    """A class's row in the table, with a bar."""

    name: str
    count: int
    percent: float
    splits: dict[str, int]
    findings: int


@dataclass(frozen=True)
class ContactSheet:
    """Some images of a class, by row, and how many the class has."""

    name: str
    rows: list[int]
    count: int


def render_page(
    images: ScannedImages, stats: ImageStats, findings: Sequence[Finding], *, title: str, remarks: Sequence[str],
    max_shown: int,
) -> str:  # fmt: skip
    """Return the page; max_shown: images of a class on its contact sheet, and findings of a kind."""
    sections = finding_sections(findings, max_shown)
    per_class = max(1, min(max_shown, MAX_SHEET_IMAGES // len(images.class_names)))
    sheet_note = f"Up to {per_class} pictures of each class, evenly from its list of files. A picture opens its file."
    sheets = [_contact_sheet(images, label, per_class) for label in range(len(images.class_names))]
    rows = {row for sheet in sheets for row in sheet.rows}
    rows |= {row for s in sections for f in s.findings for row in (f.row, f.other_row) if row is not None}
    environment = Environment(
        loader=PackageLoader("thaw.explore", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    text = environment.get_template("page.html").render(
        title=title,
        subtitle=_subtitle(images),
        remarks=remarks,
        sections=sections,
        classes=class_rows(images, findings),
        splits=used_splits(images),
        charts=histograms.bar_charts(images, stats),
        sheets=sheets,
        sheet_note=sheet_note,
        images=_thumbnail_uris(images, rows),
        names={row: images.name(row) for row in rows},
        links={row: Path(path).as_uri() if (path := images.path(row)) else "" for row in rows},
    )
    # File names need not be UTF-8: other bytes are shown as Python writes them.
    return text.encode("utf-8", "backslashreplace").decode()


def finding_sections(findings: Sequence[Finding], max_shown: int) -> list[FindingSection]:
    """Return a section for each kind of which there are findings, in the order of `FINDING_KINDS`."""
    sections = []
    for kind, about in FINDING_KINDS.items():
        of_kind = [finding for finding in findings if finding.kind == kind]
        if of_kind:
            pairs = any(finding.other_row is not None for finding in of_kind)
            across = [sum(f.across_classes for f in of_kind), sum(f.across_splits for f in of_kind)]
            texts = [f"{count:,}" if pairs else "" for count in across]
            shown = of_kind[: max_shown if of_kind[0].row is not None else TEXT_ONLY_FACTOR * max_shown]
            sections.append(
                FindingSection(kind, about.title, about.meaning, about.score_name, shown, len(of_kind), *texts)
            )
    return sections


def class_rows(images: ScannedImages, findings: Sequence[Finding]) -> list[ClassRow]:
    """Return a row for each class, in the order of the labels."""
    labels = images.labels.tolist()
    of_class, of_split = Counter(labels), Counter(zip(labels, images.splits, strict=True))
    finding_counts = Counter(finding.class_name for finding in findings)
    rows = []
    for label, bar in enumerate(histograms.make_bars((name, of_class[i]) for i, name in enumerate(images.class_names))):
        splits = {split: of_split[label, split] for split in used_splits(images)}
        rows.append(ClassRow(bar.label, bar.count, bar.percent, splits, finding_counts[bar.label]))
    return rows


def used_splits(images: ScannedImages) -> list[str]:
    """Return the names of the splits that have images, in the order train, val, test."""
    return [name for name in SPLIT_NAMES if name in images.splits]


def _subtitle(images: ScannedImages) -> str:
    parts = [f"{len(images):,} images", f"{len(images.class_names)} classes"]
    parts += [f"{name} {images.splits.count(name):,}" for name in used_splits(images)]
    return " · ".join(parts + ([f"{len(images.bad_files)} files cannot be used"] if images.bad_files else []))


def _contact_sheet(images: ScannedImages, label: int, max_shown: int) -> ContactSheet:
    rows = np.flatnonzero(images.labels == label)
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, max_shown).round().astype(int))] if len(rows) else rows
    return ContactSheet(images.class_names[label], chosen.tolist(), len(rows))


def _thumbnail_uris(images: ScannedImages, rows: Iterable[int]) -> dict[int, str]:
    """Return `data:image/jpeg;base64,...` by row; raise BadImage for a file that has changed since the scan."""
    ordered = sorted(set(rows))
    uris = prefetch_map(lambda row: jpeg_uri(thumbnail_jpeg(images.pixels, int(images.pixels.indices[row]))), ordered)
    return dict(zip(ordered, with_progress(uris, "thumbnails", len(ordered)), strict=True))

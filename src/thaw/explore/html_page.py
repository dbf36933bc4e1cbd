"""The page: one HTML file with everything in it, that opens from disk and asks no network for anything."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from thaw.explore import histograms, thumbnails
from thaw.explore.findings import FINDING_KINDS, Finding
from thaw.explore.image_stats import ImageStats
from thaw.explore.scanned_images import ScannedImages

MAX_SHEET_IMAGES = 2000  # pictures on all contact sheets together: 6 MB, which a phone still opens
TEXT_ONLY_FACTOR = 10  # findings without a picture take so much less room than those with one


@dataclass(frozen=True)
class FindingSection:
    """The findings of a kind, those that are shown, and how many there are."""

    kind: str
    title: str
    meaning: str
    score_name: str
    findings: list[Finding]
    count: int
    across_classes: str
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
    """Some pictures of a class, and how many it has."""

    name: str
    rows: list[int]
    count: int


def render_page(
    pictures: ScannedImages,
    looks: ImageStats,
    found: Sequence[Finding],
    title: str,
    remarks: Sequence[str],
    max_shown: int,
) -> str:
    """Return the page. cap: pictures shown of a class and findings shown of a kind. said: remarks on all of it."""
    shown, each = (
        finding_sections(found, max_shown),
        max(1, min(max_shown, MAX_SHEET_IMAGES // len(pictures.class_names))),
    )
    sheets = _sheets(pictures, each)
    rows = {row for sheet in sheets for row in sheet.rows}
    rows |= {row for s in shown for f in s.findings for row in (f.row, f.other_row) if row is not None}
    environment = Environment(
        loader=PackageLoader("thaw.explore", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    text = environment.get_template("page.html").render(
        title=title,
        subtitle=_subtitle(pictures),
        said=remarks,
        sections=shown,
        classes=class_rows(pictures, found),
        splits=used_splits(pictures),
        charts=histograms.bar_charts(pictures, looks),
        sheets=sheets,
        sheet_note=f"Up to {each} pictures of each class, evenly from its list of files. A picture opens its file.",
        images=thumbnails.data_uris(pictures, rows),
        names={row: pictures.name(row) for row in rows},
        links={row: _link(pictures.path(row)) for row in rows},
    )
    # Names of files need not be UTF-8: what is none of it is shown as Python writes it.
    return text.encode("utf-8", "backslashreplace").decode()


def finding_sections(found: Sequence[Finding], max_shown: int) -> list[FindingSection]:
    """The kinds of findings that there are, in the order of `KINDS`."""
    made = []
    for kind, about in FINDING_KINDS.items():
        own = [finding for finding in found if finding.kind == kind]
        if own:
            pairs = any(finding.other_row is not None for finding in own)
            across = [sum(f.across_classes for f in own), sum(f.across_splits for f in own)]
            said = [f"{count:,}" if pairs else "" for count in across]
            most = max_shown if own[0].row is not None else TEXT_ONLY_FACTOR * max_shown
            made.append(FindingSection(kind, about.title, about.meaning, about.score_name, own[:most], len(own), *said))
    return made


def class_rows(pictures: ScannedImages, found: Sequence[Finding]) -> list[ClassRow]:
    """A row a class, in the order of the labels."""
    labels = pictures.labels.tolist()
    of_class, of_split = Counter(labels), Counter(zip(labels, pictures.splits, strict=True))
    findings = Counter(finding.class_name for finding in found)
    bars = histograms.make_bars((name, of_class[label]) for label, name in enumerate(pictures.class_names))
    return [
        ClassRow(
            name=bar.label,
            count=bar.count,
            percent=bar.percent,
            splits={split: of_split[label, split] for split in used_splits(pictures)},
            findings=findings[bar.label],
        )
        for label, bar in enumerate(bars)
    ]


def used_splits(pictures: ScannedImages) -> list[str]:
    return [name for name in ("train", "val", "test") if name in pictures.splits]


def _subtitle(pictures: ScannedImages) -> str:
    said = [f"{len(pictures):,} images", f"{len(pictures.class_names)} classes"]
    of_split = Counter(pictures.splits)
    said += [f"{name} {of_split[name]:,}" for name in used_splits(pictures)]
    return " · ".join(said + ([f"{len(pictures.bad_files)} files cannot be used"] if pictures.bad_files else []))


def _sheets(pictures: ScannedImages, cap: int) -> list[ContactSheet]:
    made = []
    for label, name in enumerate(pictures.class_names):
        rows = np.flatnonzero(pictures.labels == label)
        chosen = rows[np.unique(np.linspace(0, len(rows) - 1, cap).round().astype(int))] if len(rows) else rows
        made.append(ContactSheet(name, chosen.tolist(), len(rows)))
    return made


def _link(path: str | None) -> str:
    return Path(path).as_uri() if path else ""

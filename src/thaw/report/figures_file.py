"""figures.json: all numbers that a report draws, without its pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from thaw.analysis.figures import SplitFigures
from thaw.common.files import write_json
from thaw.report.content import Gallery, ReportContent

MATRIX_UP_TO = 100  # classes; above that the confusion matrix is nearly empty, and is written without its zeros


def write_figures(content: ReportContent, path: Path) -> None:
    """Write the figures as JSON. NaN is null. `confusion` is a matrix, rows true, columns predicted, up to 100 classes.

    Above that it is a list of `[true, predicted, images]`, which are indices into `class_names` and a count.
    """
    write_json(figures(content), path)


def figures(content: ReportContent) -> dict[str, Any]:
    """Return what `write_figures` writes."""
    return {
        "title": content.title,
        "subtitle": content.subtitle,
        "verdict": asdict(content.verdict),
        "facts": [list(fact) for fact in content.facts],
        "splits": [_split(split) for split in content.splits],
        "history": [dict(epoch) for epoch in content.history],
        "best_epochs": [asdict(best) for best in content.best_epochs],
        "val_loss_meaning": content.val_loss_meaning,
        "plans": [asdict(plan) for plan in content.plans],
        "seconds": dict(content.seconds),
        "cache": dict(content.cache),
        "galleries": [_gallery(gallery) for gallery in (*content.galleries, *content.explanations)],
        "feature_maps": [asdict(feature_map) for feature_map in content.feature_maps],
        "remarks": list(content.remarks),
    }


def confusion_entries(confusion: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return `[true, predicted, images]` for each cell of the matrix that is not zero."""
    return [[i, j, int(count)] for i, row in enumerate(confusion) for j, count in enumerate(row) if count]


def _split(split: SplitFigures) -> dict[str, Any]:
    if len(split.class_names) <= MATRIX_UP_TO:
        return asdict(split)
    return asdict(replace(split, confusion=())) | {"confusion": confusion_entries(split.confusion)}


def _gallery(gallery: Gallery) -> Mapping[str, Any]:
    images = [
        {"file": image.file, "true": image.true, "predicted": image.predicted, "probability": image.probability,
         "note": image.note}
        for image in gallery.images
    ]  # fmt: skip
    return {"key": gallery.key, "title": gallery.title, "total": gallery.total, "images": images}

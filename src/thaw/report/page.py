"""report.html: a report's content as one page, which opens from disk and needs no network."""

from dataclasses import replace
from typing import Any

from thaw.analysis.figures import SplitFigures
from thaw.report.content import ReportContent
from thaw.report.page_base import render_page
from thaw.report.picture_budget import fitting
from thaw.report.report_drawings import ReportDrawings

MAX_PAGE_BYTES = 4_800_000  # a page that a phone opens; pictures fill what charts and tables leave
MAX_CLASS_ROWS = 1000  # in the page's table; classes.csv has all


def report_page(content: ReportContent, drawings: ReportDrawings) -> str:
    """Return the page, of at most `MAX_PAGE_BYTES` where its charts and tables leave that room."""
    kinds = (content.galleries, content.explanations, content.inputs)
    bare = _with_galleries(content, [[replace(gallery, images=()) for gallery in kind] for kind in kinds])
    room = MAX_PAGE_BYTES - len(_render(bare, drawings).encode())
    fitted = fitting([gallery for kind in kinds for gallery in kind], room)
    shown = [[fitted.pop(0) for _ in kind] for kind in kinds]
    return _render(_with_galleries(content, shown), drawings)


def _with_galleries(content: ReportContent, kinds: list[Any]) -> ReportContent:
    galleries, explanations, inputs = kinds
    return replace(content, galleries=galleries, explanations=explanations, inputs=inputs)


def _render(content: ReportContent, drawings: ReportDrawings) -> str:
    split = content.splits[0]
    return render_page(
        "report.html",
        title=content.title,
        subtitle=content.subtitle,
        content=content,
        split=split,
        sections=_sections(content, drawings),
        drawings=drawings.by_key,
        feature_maps=drawings.feature_maps,
        headline=_headline(content.splits),
        temperature=_temperature_sentence(split),
        max_class_rows=MAX_CLASS_ROWS,
    )


def _sections(content: ReportContent, drawings: ReportDrawings) -> dict[str, str]:
    """Return anchor and heading of the sections that the content has, in their order."""
    split, charts = content.splits[0], drawings.by_key
    everything: list[tuple[str, str, object]] = [
        ("verdict", "Verdict", True),
        ("learning", "Learning curves", "curves" in charts),
        ("plan", "Freeze plan", content.plans),
        ("cost", "Time and cache", content.seconds or content.cache),
        ("confusions", "Confusions", True),
        ("classes", "Classes", True),
        ("ranking", "ROC, precision and recall", "roc" in charts or "precision-recall" in charts),
        ("thresholds", "Thresholds", split.thresholds),
        ("calibration", "Calibration", split.images),
        ("galleries", "Galleries", content.galleries),
        ("explanations", "Explanations", content.explanations),
        ("features", "Maps of features", drawings.feature_maps),
        ("inputs", "What the network sees", content.inputs),
        ("model", "Model", content.model_summary),
        ("remarks", "Remarks", content.remarks),
    ]
    return {anchor: heading for anchor, heading, there in everything if there}


def _headline(splits: Any) -> list[tuple[str, list[tuple[str, Any]]]]:
    """Return rows of the table of all splits: a name, and of each split a kind of number and its value."""

    def row(name: str, kind: str, field: str) -> tuple[str, list[tuple[str, Any]]]:
        return name, [(kind, getattr(split, field)) for split in splits]

    def calibration(name: str, field: str) -> tuple[str, list[tuple[str, Any]]]:
        return name, [("decimal", getattr(split.calibration, field)) for split in splits]

    rows = [
        row("images", "count", "images"),
        row("accuracy", "share", "accuracy"),
        row("macro F1", "decimal", "macro_f1"),
        row("top-5 accuracy", "percent", "top5_accuracy"),
        row("largest class", "percent", "majority_share"),
        row("mean ROC area", "decimal", "macro_roc_auc"),
        row("mean average precision", "decimal", "macro_average_precision"),
        calibration("expected calibration error", "ece"),
        calibration("Brier score", "brier"),
        calibration("negative log likelihood", "nll"),
    ]
    return [entry for entry in rows if any(value is not None for _, value in entry[1])]


def _temperature_sentence(split: SplitFigures) -> str:
    """Say what the temperature would change."""
    if split.temperature is None or split.calibrated is None:
        return (
            "No temperature was fitted: there are no validation images, or they cannot tell one, as all of them are "
            "right, or of one class."
        )
    before, after = split.calibration, split.calibrated
    direction = "less" if split.temperature > 1 else "more"
    effect = "better" if after.nll < before.nll else "no better"
    return (
        f"The temperature {split.temperature:.2f}, fitted on validation images, makes probabilities {direction} "
        f"extreme. On this split they are then {effect}: expected calibration error {after.ece:.3f} instead of "
        f"{before.ece:.3f}, "
        f"negative log likelihood {after.nll:.3f} instead of {before.nll:.3f}. Predicted classes and accuracy stay."
    )

"""Precision, recall and F1 of each class, with their intervals."""

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from thaw.analysis.figures import ClassFigures, SplitFigures
from thaw.report.drawing import Drawing, chart_names, layered, rows

ALL_UP_TO = 40  # classes; above that the worst and the best half of so many
_METRICS = ["precision", "recall", "F1"]


def per_class(split: SplitFigures) -> Drawing | None:
    """Draw the figures of each class, the lowest F1 first; of many classes the 20 worst and the 20 best.

    Classes without an image of theirs have no recall and are left out. Returns None where no class is left.
    """
    ranked = sorted((c for c in split.classes if c.images and c.f1.value is not None), key=lambda c: c.f1.value or 0)
    if not ranked:
        return None
    half = ALL_UP_TO // 2
    if len(ranked) <= ALL_UP_TO:
        shown, which = ranked, "one class" if len(ranked) == 1 else f"{len(ranked)} classes"
    else:
        shown, which = (
            ranked[:half] + ranked[-half:],
            f"{half} classes with the lowest and the {half} with the highest F1",
        )
    names = chart_names(c.name for c in shown)
    description = (
        f"Precision, recall and F1 of the {which}, the lowest F1 first, each with its 95 % interval: few images make "
        f"wide ones. Lowest: {names[0]}, F1 {shown[0].f1.value:.3f} ({shown[0].images:,} images)."
    )
    absent = sum(not c.images for c in split.classes)
    if absent:
        description += f" Left out: {absent} without an image in this split."
    return Drawing("per-class", "Figures by class", description, [_ranges(shown, names)], table="classes.csv")


def _ranges(shown: Sequence[ClassFigures], names: Sequence[str]) -> alt.LayerChart:
    """A point and a bar for each figure, the three of a class below each other."""
    figures = [
        {"name": name, "metric": metric, "value": share.value, "low": share.low, "high": share.high, "images": c.images}
        for name, c in zip(names, shown, strict=True)
        for metric, share in zip(_METRICS, (c.precision, c.recall, c.f1), strict=True)
        if share.value is not None
    ]
    metrics, legend = alt.Scale(domain=_METRICS), alt.Legend(title=None)
    base = alt.Chart(rows(figures)).encode(
        y=alt.Y("name:N", title=None, scale=alt.Scale(domain=names, paddingInner=0.3), axis=alt.Axis(grid=False)),
        yOffset=alt.YOffset("metric:N", scale=metrics),
        color=alt.Color("metric:N", scale=metrics, legend=legend),
        tooltip=["name:N", "metric:N", alt.Tooltip("value:Q", format=".3f"), alt.Tooltip("low:Q", format=".3f"),
                 alt.Tooltip("high:Q", format=".3f"), alt.Tooltip("images:Q", format=",")],
    )  # fmt: skip
    # Points, unlike bars, need no zero.
    left = min(0.9, math.floor(10 * min(float(figure["low"] or 0) for figure in figures)) / 10)
    x: dict[str, Any] = {
        "title": None,
        "scale": alt.Scale(domain=[left, 1], nice=False, zero=False),
        "axis": alt.Axis(format=".0%", orient="top", tickCount=5),
    }
    bars = base.mark_rule(strokeWidth=3, opacity=0.45).encode(x=alt.X("low:Q", **x), x2="high:Q")
    points = base.mark_point(filled=True, size=36, opacity=1)
    points = points.encode(x=alt.X("value:Q", **x), shape=alt.Shape("metric:N", scale=metrics, legend=legend))
    return layered(bars, points, height=32 * len(names))

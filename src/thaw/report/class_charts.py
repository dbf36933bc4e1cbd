"""Precision, recall and F1 of each class, with their intervals."""

import math
from collections.abc import Sequence

import altair as alt

from thaw.analysis.figures import ClassFigures, SplitFigures
from thaw.report.drawing import Drawing, chart_names, layered, rows

ALL_UP_TO = 40  # classes; above that the worst and the best half of so many
_METRICS = ["precision", "recall", "F1"]


def per_class(split: SplitFigures) -> Drawing | None:
    """Draw the figures of each class, the lowest F1 first; of many classes the 20 worst and the 20 best.

    Returns None where no class has an F1.
    """
    ranked = sorted((c for c in split.classes if c.f1.value is not None), key=lambda c: c.f1.value or 0)
    if not ranked:
        return None
    half = ALL_UP_TO // 2
    shown = ranked if len(ranked) <= ALL_UP_TO else ranked[:half] + ranked[-half:]
    names = chart_names(c.name for c in shown)
    base = alt.Chart(rows(_figures(shown, names))).encode(
        y=alt.Y("name:N", title=None, scale=alt.Scale(domain=names, paddingInner=0.3), axis=alt.Axis(grid=False)),
        yOffset=alt.YOffset("metric:N", scale=alt.Scale(domain=_METRICS)),
        color=alt.Color("metric:N", scale=alt.Scale(domain=_METRICS), legend=alt.Legend(title=None)),
        tooltip=["name:N", "metric:N", alt.Tooltip("value:Q", format=".3f"), alt.Tooltip("low:Q", format=".3f"),
                 alt.Tooltip("high:Q", format=".3f"), alt.Tooltip("images:Q", format=",")],
    )  # fmt: skip
    lowest = min(share.low or 0 for c in shown for share in (c.precision, c.recall, c.f1) if share.value is not None)
    left = math.floor(10 * lowest) / 10  # points, unlike bars, need no zero
    x = alt.X(
        "value:Q",
        title=None,
        scale=alt.Scale(domain=[left, 1], nice=False),
        axis=alt.Axis(format=".0%", orient="top", tickCount=6),
    )
    ranges = base.mark_rule(strokeWidth=3, opacity=0.45).encode(x=alt.X("low:Q", title=None), x2="high:Q")
    dots = base.mark_point(filled=True, size=36, opacity=1).encode(
        x=x, shape=alt.Shape("metric:N", scale=alt.Scale(domain=_METRICS), legend=alt.Legend(title=None))
    )
    which = "classes" if len(shown) == len(ranked) else f"classes with the lowest and the {half} with the highest F1"
    count = len(shown) if len(shown) == len(ranked) else half
    description = (
        f"Precision, recall and F1 of the {count} {which}, the lowest F1 first, each with its 95 % interval: few "
        f"images make wide ones. Lowest: {names[0]}, F1 {shown[0].f1.value:.3f} ({shown[0].images:,} images)."
    )
    chart = layered(ranges, dots, height=32 * len(names))
    return Drawing("per-class", "Figures by class", description, [chart], table="classes.csv")


def _figures(shown: Sequence[ClassFigures], names: Sequence[str]) -> list[dict[str, object]]:
    return [
        {"name": name, "metric": metric, "value": share.value, "low": share.low, "high": share.high, "images": c.images}
        for name, c in zip(names, shown, strict=True)
        for metric, share in zip(_METRICS, (c.precision, c.recall, c.f1), strict=True)
        if share.value is not None
    ]

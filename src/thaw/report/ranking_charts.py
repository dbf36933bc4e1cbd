"""ROC and precision-recall curves: how well a class's probability ranks its images before the others."""

from collections.abc import Sequence

import altair as alt

from thaw.analysis.figures import Curve, SplitFigures
from thaw.report.drawing import (
    POINTER_LAYER,
    ZOOM_HINT,
    Drawing,
    chart_names,
    layered,
    legend_columns,
    rows,
    thinned,
    zoom,
)

_MAX_POINTS = 4000  # of all curves of a chart; figures.json has all
_COLOURS = 10  # after so many curves the colours come again, dashed


def roc(split: SplitFigures) -> Drawing | None:
    """Draw the ROC curves; None where there are none."""
    if not split.roc:
        return None
    about = _about(split, split.roc, "area", split.macro_roc_auc)
    return Drawing(
        "roc", "ROC curves", f"Recall over the share of other images that are taken for the class. {about}",
        [_curves(split.roc, "false positive rate", "recall", diagonal=True)],
        table="figures.json", hint=ZOOM_HINT, max_width=640, png_width=480,
    )  # fmt: skip


def precision_recall(split: SplitFigures) -> Drawing | None:
    """Draw the precision-recall curves; None where there are none."""
    if not split.precision_recall:
        return None
    about = _about(split, split.precision_recall, "average precision", split.macro_average_precision)
    return Drawing(
        "precision-recall", "Precision and recall", f"Precision over recall, for all thresholds. {about}",
        [_curves(split.precision_recall, "recall", "precision", diagonal=False)],
        table="figures.json", hint=ZOOM_HINT, max_width=640, png_width=480,
    )  # fmt: skip


def _about(split: SplitFigures, curves: Sequence[Curve], area: str, mean: float | None) -> str:
    name = chart_names([curves[0].name])[0]
    if len(split.class_names) == 2:
        return f"{area.capitalize()} {curves[0].area:.3f}, with {name} as the positive class."
    known = sum(figures.roc_auc is not None for figures in split.classes)
    every = "each class" if known == len(split.class_names) else "each class that has images, and others beside them"
    which = f"the {len(curves)} classes with the smallest {area}" if len(curves) < known else every
    of_all = "" if mean is None else f" The mean {area} of {known} classes is {mean:.3f}."
    lowest = min(curves, key=lambda curve: curve.area)
    return (
        f"One against the rest, {which}.{of_all} Lowest: {chart_names([lowest.name])[0]}, {lowest.area:.3f}. "
        "A click on a name shows its curve alone."
    )


def _curves(curves: Sequence[Curve], x_title: str, y_title: str, diagonal: bool) -> alt.LayerChart:
    names = chart_names(curve.name for curve in curves)
    points = [
        {"name": name, "x": curve.x[i], "y": curve.y[i], "threshold": curve.thresholds[i], "area": curve.area, "i": i}
        for name, curve in zip(names, curves, strict=True)
        for i in thinned(len(curve.x), _MAX_POINTS // len(curves))
    ]
    unit = alt.Scale(domain=[0, 1], nice=False)
    picked = alt.selection_point(fields=["name"], bind="legend")
    dashes = [[4000, 0] if i < _COLOURS else [5, 3] for i in range(len(names))]
    legend = (
        alt.Legend(title=None, orient="bottom", columns=legend_columns(names), symbolType="stroke")
        if len(names) > 1
        else None
    )
    lines = (
        alt.Chart(rows(points))
        .mark_line(clip=True, strokeWidth=2)
        .encode(
            x=alt.X("x:Q", title=x_title, scale=unit, axis=alt.Axis(tickCount=5)),
            y=alt.Y("y:Q", title=y_title, scale=unit, axis=alt.Axis(tickCount=5)),
            color=alt.Color("name:N", scale=alt.Scale(domain=names), legend=legend),
            strokeDash=alt.StrokeDash("name:N", scale=alt.Scale(domain=names, range=dashes), legend=legend),
            opacity=alt.condition(picked, alt.value(1), alt.value(0.06)),
            order="i:Q",
        )
        .add_params(zoom(), picked)
    )
    near = lines.properties(name=POINTER_LAYER).mark_point(size=60, opacity=0).encode(
        strokeDash=alt.Undefined, order=alt.Undefined, opacity=alt.value(0),
        tooltip=["name:N", alt.Tooltip("x:Q", title=x_title, format=".3f"),
                 alt.Tooltip("y:Q", title=y_title, format=".3f"), alt.Tooltip("threshold:Q", format=".3f"),
                 alt.Tooltip("area:Q", format=".3f")],
    )  # fmt: skip
    layers = [lines, near]
    if diagonal:
        chance = alt.Chart(rows([{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
        layers.insert(0, chance.mark_line(strokeDash=[4, 4], color="#888888", strokeWidth=1).encode(x="x:Q", y="y:Q"))
    return layered(*layers, height=360)

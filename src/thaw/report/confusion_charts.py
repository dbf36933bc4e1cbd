"""Which classes are taken for which: the square of all of them, or the worst pairs where there are many."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from thaw.analysis.figures import SplitFigures
from thaw.report.drawing import Drawing, chart_names, label_angle, layered, rows

SQUARE_UP_TO = 50  # classes; above that a cell cannot be seen
_NUMBERS_UP_TO = 20  # classes; above that a cell is too small for its number
_PAIRS = 30
_KINDS = ["right", "wrong"]


def confusion(split: SplitFigures) -> Drawing | None:
    """Draw the confusion matrix, or for more than `SQUARE_UP_TO` classes the most confused pairs.

    Returns None for many classes none of which was confused.
    """
    return _square(split) if len(split.class_names) <= SQUARE_UP_TO else _pairs(split)


def _square(split: SplitFigures) -> Drawing:
    names, classes = chart_names(split.class_names), len(split.class_names)
    cells = [
        {"true": names[i], "predicted": names[j], "count": int(count), "share": count / sum(row),
         "kind": _KINDS[i != j]}
        for i, row in enumerate(split.confusion)
        for j, count in enumerate(row)
        if count
    ]  # fmt: skip
    description = (
        f"Confusion matrix of {split.images:,} images of {classes} classes: rows are true classes, columns what was "
        f"predicted. {_worst(split)}"
    )
    step = min(34, max(11, 640 // classes))
    height = max(120, step * classes)
    chart = layered(*_cells(cells, names, min(12, step)), height=height)
    return Drawing(
        "confusion", "Confusion matrix", description, [chart], table="confusions.csv",
        max_width=max(480, int(1.25 * height) + 200), png_width=max(200, int(1.1 * height)),
    )  # fmt: skip


def _cells(cells: Sequence[dict[str, Any]], names: list[str], font_size: int) -> list[alt.Chart]:
    """The cells, and their counts where they have room."""
    band = alt.Scale(domain=names, padding=0.04)
    axis: dict[str, Any] = {
        "labelOverlap": False,
        "domain": False,
        "ticks": False,
        "labelFontSize": font_size,
        "grid": False,
    }
    below = alt.Axis(**axis, labelAngle=label_angle(names))
    base = alt.Chart(rows(cells)).encode(
        x=alt.X("predicted:N", title="predicted", scale=band, axis=below),
        y=alt.Y("true:N", title="true", scale=band, axis=alt.Axis(**axis)),
    )
    squares = base.mark_rect().encode(
        color=alt.Color("kind:N", scale=alt.Scale(domain=_KINDS), legend=alt.Legend(title=None)),
        # By the square root, so that 1 % confused with another class can be seen.
        opacity=alt.Opacity("share:Q", scale=alt.Scale(type="sqrt", domain=[0, 1], range=[0.04, 1]), legend=None),
        tooltip=["true:N", "predicted:N", alt.Tooltip("count:Q", title="images"),
                 alt.Tooltip("share:Q", title="of the true class", format=".1%")],
    )  # fmt: skip
    if len(names) > _NUMBERS_UP_TO:
        return [squares]
    strong = alt.datum["share"] > 0.4
    pale = base.transform_filter(~strong).mark_text(fontSize=11).encode(text="count:Q")
    dark = base.transform_filter(strong).mark_text(fontSize=11, color="white").encode(text="count:Q")
    return [squares, pale, dark]


def _pairs(split: SplitFigures) -> Drawing | None:
    pairs = split.pairs[:_PAIRS]
    if not pairs:
        return None
    names = [chart_names([pair.true, pair.predicted], longest=28) for pair in pairs]
    labels = chart_names((f"{true} → {predicted}" for true, predicted in names), longest=70)
    data = rows(
        {"pair": label, "true": pair.true, "predicted": pair.predicted, "count": pair.count, "share": pair.share}
        for label, pair in zip(labels, pairs, strict=True)
    )
    # A pair's names stand above its bar: beside it they would leave no room on a phone.
    base = alt.Chart(data).encode(y=alt.Y("pair:N", scale=alt.Scale(domain=labels), axis=None))
    bars = base.mark_bar(height=9, yOffset=8).encode(
        x=alt.X("count:Q", title="images", axis=alt.Axis(tickMinStep=1, format="d", grid=False)),
        tooltip=["true:N", "predicted:N", alt.Tooltip("count:Q", title="images"),
                 alt.Tooltip("share:Q", title="of the true class", format=".1%")],
    )  # fmt: skip
    texts = base.mark_text(align="left", dx=2, dy=-5).encode(x=alt.value(0), text="pair:N")
    chart = layered(bars, texts, height=32 * len(pairs))
    description = (
        f"The {len(pairs)} most confused pairs of {len(split.class_names):,} classes (true → predicted), by images. "
        f"{_worst(split)}"
    )
    return Drawing("confusion", "Most confused pairs", description, [chart], table="confusions.csv", max_width=720)


def _worst(split: SplitFigures) -> str:
    if not split.pairs:
        return "No image is in a wrong class."
    worst = split.pairs[0]
    true, predicted = chart_names([worst.true])[0], chart_names([worst.predicted])[0]
    return f"Most often {true} is taken for {predicted}: {worst.count:,} images, {worst.share:.1%} of {true}."

"""Whether probabilities can be believed: accuracy over confidence, as they are and with the temperature."""

from typing import Any

import altair as alt

from thaw.analysis.figures import CalibrationFigures, SplitFigures
from thaw.report.drawing import Drawing, layered, rows

_KINDS = ["as they are", "with temperature"]
_UNIT = alt.Scale(domain=[0, 1], nice=False)
_WIDTH: dict[str, Any] = {"minExtent": 50, "maxExtent": 50}  # of the vertical axes: both panels have the same bins


def reliability(split: SplitFigures) -> Drawing | None:
    """Draw the reliability diagram and, below it, the images in each bin; None without images."""
    both = [(_KINDS[0], split.calibration)]
    if split.calibrated is not None:
        both.append((_KINDS[1], split.calibrated))
    bins = [row for kind, calibration in both for row in _rows(kind, calibration)]
    if not bins:
        return None
    kinds = alt.Scale(domain=[kind for kind, _ in both])
    legend = alt.Legend(title=None) if len(both) > 1 else None
    tooltip = [
        alt.Tooltip("kind:N"), alt.Tooltip("confidence:Q", title="mean confidence", format=".3f"),
        alt.Tooltip("accuracy:Q", format=".3f"), alt.Tooltip("low:Q", format=".3f"),
        alt.Tooltip("high:Q", format=".3f"), alt.Tooltip("images:Q", format=","),
    ]  # fmt: skip
    base = alt.Chart(rows(bins)).encode(color=alt.Color("kind:N", scale=kinds, legend=legend), tooltip=tooltip)
    shape = alt.Shape("kind:N", scale=kinds, legend=legend)
    return Drawing(
        "reliability", "Reliability diagram", _description(split), [_diagram(base, shape), _counts(base)],
        table="calibration.csv", max_width=640, png_width=480,
    )  # fmt: skip


def _diagram(base: alt.Chart, shape: alt.Shape) -> alt.LayerChart:
    """Accuracy over confidence, with intervals, and the line where they are equal."""
    base = base.encode(x=alt.X("confidence:Q", scale=_UNIT, title=None))
    y = alt.Y("accuracy:Q", title="accuracy", scale=_UNIT, axis=alt.Axis(**_WIDTH))
    ideal = alt.Chart(rows([{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
    return layered(
        ideal.mark_line(strokeDash=[4, 4], color="#888888", strokeWidth=1).encode(x="x:Q", y="y:Q"),
        base.mark_rule(strokeWidth=2, opacity=0.5).encode(y="low:Q", y2="high:Q"),
        base.mark_line(strokeWidth=1.5).encode(y=y),
        base.mark_point(filled=True, size=60, opacity=1).encode(y=y, shape=shape),
        height=300,
    )


def _counts(base: alt.Chart) -> alt.Chart:
    """The images of each bin, by the square root: most are in the last one, and the others would have no height."""
    y = alt.Y(
        "images:Q", title="images", scale=alt.Scale(type="sqrt"), axis=alt.Axis(tickCount=3, format="~s", **_WIDTH)
    )
    x = alt.X("start:Q", scale=_UNIT, title="confidence of the predicted class")
    return base.mark_rect(opacity=0.75).encode(x=x, x2="end:Q", y=y, y2="ground:Q").properties(height=80)


def _rows(kind: str, calibration: CalibrationFigures) -> list[dict[str, object]]:
    """A row a bin with images. The two kinds share a bin's width in the counts."""
    side = _KINDS.index(kind) / 2
    return [
        {
            "kind": kind, "confidence": b.confidence, "accuracy": b.accuracy.value, "low": b.accuracy.low,
            "high": b.accuracy.high, "images": b.images, "ground": 0, "start": b.low + side * (b.high - b.low),
            "end": b.low + (side + 0.5) * (b.high - b.low),
        }
        for b in calibration.bins
        if b.images
    ]  # fmt: skip


def _description(split: SplitFigures) -> str:
    text = (
        "Accuracy over confidence, in bins: on the dashed line probabilities can be taken at their word; below it the "
        f"network is too sure of itself. Expected calibration error {split.calibration.ece:.3f}"
    )
    return text + (f", with temperature {split.calibrated.ece:.3f}." if split.calibrated else ".")

"""Whether probabilities can be believed: accuracy over confidence, as they are and with the temperature."""

import altair as alt

from thaw.analysis.figures import CalibrationFigures, SplitFigures
from thaw.report.drawing import Drawing, layered, rows

_KINDS = ["as they are", "with temperature"]
_Y_EXTENT = 50


def reliability(split: SplitFigures) -> Drawing | None:
    """Draw the reliability diagram and, below it, the images in each bin; None without images."""
    both = [("as they are", split.calibration)]
    if split.calibrated is not None:
        both.append(("with temperature", split.calibrated))
    bins = [row for kind, calibration in both for row in _rows(kind, calibration)]
    if not bins:
        return None
    shown = [kind for kind, _ in both]
    data = rows(bins)
    legend = alt.Legend(title=None) if len(shown) > 1 else None
    colour = alt.Color("kind:N", scale=alt.Scale(domain=shown), legend=legend)
    x_scale = alt.Scale(domain=[0, 1], nice=False)
    tooltip = [
        alt.Tooltip("kind:N"), alt.Tooltip("confidence:Q", title="mean confidence", format=".3f"),
        alt.Tooltip("accuracy:Q", format=".3f"), alt.Tooltip("low:Q", format=".3f"),
        alt.Tooltip("high:Q", format=".3f"), alt.Tooltip("images:Q", format=","),
    ]  # fmt: skip
    base = alt.Chart(data).encode(x=alt.X("confidence:Q", scale=x_scale, title=None), color=colour, tooltip=tooltip)
    y = alt.Y(
        "accuracy:Q",
        title="accuracy",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(minExtent=_Y_EXTENT, maxExtent=_Y_EXTENT),
    )
    ideal = alt.Chart(rows([{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
    layers = [
        ideal.mark_line(strokeDash=[4, 4], color="#888888", strokeWidth=1).encode(x="x:Q", y="y:Q"),
        base.mark_rule(strokeWidth=2, opacity=0.5).encode(y="low:Q", y2="high:Q"),
        base.mark_line(strokeWidth=1.5).encode(y=y),
        base.mark_point(filled=True, size=60, opacity=1).encode(
            y=y, shape=alt.Shape("kind:N", scale=alt.Scale(domain=shown), legend=legend)
        ),
    ]
    counts = (
        alt.Chart(data)
        .mark_rect(opacity=0.75)
        .encode(
            x=alt.X("start:Q", scale=x_scale, title="confidence of the predicted class"),
            x2="end:Q",
            # By the square root: most images are in the last bin, and the others would have no height.
            y=alt.Y(
                "images:Q",
                title="images",
                scale=alt.Scale(type="sqrt"),
                axis=alt.Axis(tickCount=3, format="~s", minExtent=_Y_EXTENT, maxExtent=_Y_EXTENT),
            ),
            y2="ground:Q",
            color=colour,
            tooltip=tooltip,
        )
    )
    return Drawing(
        "reliability", "Reliability diagram", _description(split),
        [layered(*layers, height=300), counts.properties(height=80)],
        table="calibration.csv", max_width=640, png_width=480,
    )  # fmt: skip


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

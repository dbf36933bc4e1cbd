"""The picture of advise: what frozen features tell at each depth of the networks, and what thawing behind it takes."""

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from thaw.report.drawing import Drawing, layered, rows


@dataclass(frozen=True)
class DepthPoint:
    """A depth of a network. frozen: share of the network's layers before it. accuracy, seconds: None where unknown."""

    network: str
    block: str
    frozen: float
    accuracy: float | None
    standard_error: float
    seconds: float | None


def depth_png(points: Sequence[DepthPoint], epochs: int | None) -> bytes:
    """Draw accuracy above and the seconds of training below, over the share of layers that stay frozen.

    epochs: of stage thaw; None where the networks differ in them.
    """
    known = [point for point in points if point.accuracy is not None]
    timed = [point for point in points if point.seconds is not None]
    panels = []
    if known:
        panels.append(_panel(known, "accuracy", "accuracy of frozen features", bars=True))
    if timed:
        length = "stage thaw" if epochs is None else f"{epochs} epochs of stage thaw"
        panels.append(_panel(timed, "seconds", f"seconds of {length}", bars=False))
    return Drawing(
        "advise",
        "Frozen features, and the cost of thawing, by depth",
        "What logistic regression on frozen features reaches at each depth, with a standard error, and what training "
        "all behind it takes.",
        panels,
    ).png()


def _panel(points: Sequence[DepthPoint], field: str, title: str, *, bars: bool) -> alt.LayerChart:
    data = rows(
        [
            {
                "network": point.network,
                "block": point.block,
                "frozen": 100 * point.frozen,
                "value": getattr(point, field),
                "low": getattr(point, field) - point.standard_error,
                "high": getattr(point, field) + point.standard_error,
            }
            for point in points
        ]
    )
    x = alt.X("frozen:Q", title="share of layers that stay frozen, %", scale=alt.Scale(domain=[0, 100]))
    y = alt.Y("value:Q", title=title, scale=alt.Scale(zero=not bars))
    color = alt.Color("network:N", title="network")
    base = alt.Chart(data)
    networks = list(dict.fromkeys(point.network for point in points))
    layers = [
        base.mark_line(point=True).encode(x=x, y=y, color=color),
        *(_labels(data, network, number).encode(x=x, y=y, color=color) for number, network in enumerate(networks)),
    ]
    if bars:
        layers.insert(0, base.mark_rule().encode(x=x, y=alt.Y("low:Q", title=title), y2="high:Q", color=color))
    return layered(*layers, height=260)


def _labels(data: alt.InlineData, network: str, number: int) -> alt.Chart:
    """Return the blocks' names of one network: of the first above its marks, of others below, so that both are read."""
    above = number % 2 == 0
    labels = alt.Chart(data).mark_text(dy=-12 if above else 16, fontSize=10, align="right" if above else "left")
    return labels.encode(text="block:N").transform_filter(alt.FieldEqualPredicate(field="network", equal=network))

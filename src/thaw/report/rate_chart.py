"""The picture of a learning-rate range test: what each rate makes of the loss."""

from collections.abc import Sequence

import altair as alt

from thaw.report.drawing import Drawing, layered, rows


def rate_png(
    stage: str, rates: Sequence[float], changes: Sequence[float], trend: Sequence[float], rate: float
) -> bytes:
    """Draw the change of the loss over the rate.

    Changes of more than three times the most that was gained are drawn at the edge: there the steps are too long.

    Args:
        stage: the stage's name.
        rates: of the steps, rising.
        changes: of the loss, against the weights of the stage's beginning, a batch each.
        trend: the changes without most of their noise.
        rate: the one that is suggested.
    """
    edge = -3 * min(trend)
    steps = zip(rates, changes, trend, strict=True)
    data = rows(
        {"rate": rate, "change": min(edge, max(-edge, change)), "trend": min(edge, trend)}
        for rate, change, trend in steps
    )
    x = alt.X("rate:Q", scale=alt.Scale(type="log"), title="learning rate", axis=alt.Axis(format="~e"))
    base = alt.Chart(data).encode(x=x)
    mark = alt.Chart(rows([{"rate": rate, "text": f"{rate:g}"}])).encode(x=x)
    chart = layered(
        base.mark_circle(opacity=0.4, size=24).encode(y=alt.Y("change:Q", title="change of the loss")),
        base.mark_line(strokeWidth=2).encode(y="trend:Q"),
        alt.Chart(rows([{"zero": 0.0}])).mark_rule(style=["inkLine"]).encode(y="zero:Q"),
        mark.mark_rule(strokeDash=[4, 3], style=["inkLine"]),
        mark.mark_text(align="left", dx=6, baseline="top", style=["ink"]).encode(text="text:N", y=alt.value(4)),
        height=280,
    )
    description = (
        f"Stage {stage}: the loss of a batch before it is trained on, against that under the weights of the stage's "
        f"beginning, while the learning rate rises. The dashed line is the suggested rate, {rate:g}."
    )
    return Drawing("find_rate", "Learning-rate range test", description, [chart]).png()

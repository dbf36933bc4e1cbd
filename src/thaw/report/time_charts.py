"""Where the time went."""

from collections.abc import Mapping

import altair as alt

from thaw.report.drawing import Drawing, chart_names, layered, rows


def time_by_step(seconds: Mapping[str, float]) -> Drawing | None:
    """Draw the seconds of each step but `total`, which is all of them; None without steps."""
    steps = {step: value for step, value in seconds.items() if step != "total"}
    if not steps:
        return None
    names = chart_names(steps)
    data = rows({"step": name, "seconds": float(value)} for name, value in zip(names, steps.values(), strict=True))
    y = alt.Y("step:N", title=None, scale=alt.Scale(domain=names), axis=alt.Axis(grid=False))
    base = alt.Chart(data).encode(x=alt.X("seconds:Q", title="seconds"), y=y)
    bars = base.mark_bar().encode(tooltip=["step:N", alt.Tooltip("seconds:Q", format=",.1f")])
    texts = base.mark_text(align="left", dx=4).encode(text=alt.Text("seconds:Q", format=",.1f"))
    longest = max(steps, key=lambda step: steps[step])
    total = seconds.get("total", sum(steps.values()))
    description = f"Seconds by step, of {total:,.0f} in all. The longest is {longest}: {steps[longest]:,.1f} s."
    chart = layered(bars, texts, height=26 * len(names))
    return Drawing("time", "Time by step", description, [chart], table="figures.json", max_width=720)

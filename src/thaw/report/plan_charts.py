"""The freeze plan: which blocks of the backbone each stage trains."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from thaw.report.content import StagePlan
from thaw.report.drawing import Drawing, chart_names, label_angle, layered, rows

_STATES = ["frozen", "partly thawed", "thawed"]
# Cold to warm; told apart by their lightness too, on white and on dark paper.
_COLOURS = ["#7fb2d9", "#e8b04a", "#d5501e"]


def freeze_plan(plans: Sequence[StagePlan]) -> Drawing | None:
    """Draw a row a stage and a cell a block, and where the activations are cut off. None without plans."""
    plans = [plan for plan in plans if plan.blocks]
    if not plans:
        return None
    stages = chart_names(plan.stage for plan in plans)
    longest = max(plans, key=lambda plan: len(plan.blocks)).blocks
    shown = dict(zip((block.name for block in longest), chart_names(block.name for block in longest), strict=True))
    cells = [
        {"stage": stage, "block": shown.get(block.name, block.name), "state": block.state, "layers": block.layers,
         "params": block.params}
        for stage, plan in zip(stages, plans, strict=True)
        for block in plan.blocks
    ]  # fmt: skip
    cuts = [
        {"stage": stage, "block": shown[plan.cut], "label": "cut"}
        for stage, plan in zip(stages, plans, strict=True)
        if plan.cut in shown
    ]
    description = "Blocks of the network from its input (left) to its output (right), by stage. " + " ".join(
        f"{stage}: {_spoken(plan)}." for stage, plan in zip(stages, plans, strict=True)
    )
    if cuts:
        description += " A bar marks the cut: the activations before it are computed once and kept."
    chart = _grid(cells, cuts, stages, list(shown.values()))
    return Drawing("freeze-plan", "Freeze plan", description, [chart], table="figures.json")


def _grid(
    cells: Sequence[dict[str, Any]], cuts: Sequence[dict[str, Any]], stages: list[str], blocks: list[str]
) -> alt.LayerChart:
    """A cell for each block of a stage, and a mark behind the block of each cut."""
    across = alt.Scale(domain=blocks, padding=0)
    down = alt.Scale(domain=stages, paddingInner=0.3, paddingOuter=0.15)
    states = alt.Scale(domain=_STATES, range=_COLOURS)
    grid = alt.Chart(rows(cells)).mark_rect(stroke="#88888866")
    marks = alt.Chart(rows(cuts)).mark_tick(thickness=3, bandSize=40, orient="vertical", style="ink")
    params = alt.Tooltip("params:Q", title="parameters", format=",")
    return layered(
        grid.encode(
            x=alt.X("block:N", title=None, scale=across, axis=alt.Axis(labelAngle=label_angle(blocks))),
            y=alt.Y("stage:N", title=None, scale=down),
            color=alt.Color("state:N", scale=states, legend=alt.Legend(title=None)),
            tooltip=["stage:N", "block:N", "state:N", "layers:Q", params],
        ),
        marks.encode(x=alt.X("block:N", bandPosition=1), y="stage:N"),
        height=44 * len(stages),
    )


def _spoken(plan: StagePlan) -> str:
    counts = {state: sum(block.state == state for block in plan.blocks) for state in _STATES}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)

"""Where activations are taken and kept: at the freeze boundary, at a cheaper place before it, or nowhere."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from thaw.common.errors import UserError
from thaw.models.freeze import FreezePlan, cut_operations
from thaw.models.layer_graph import LayerGraph

INDEX_BYTES_PER_ROW = 128  # bytes that the cache may write about a row, beside it; an upper bound
MIN_SAVING = 0.05  # a cut that saves less of an epoch's arithmetic is not worth its bytes


@dataclass(frozen=True)
class StageWorkload:
    """What a stage would keep. images: of all splits, each augmented view counted; itemsize: bytes a number.

    pooled: numbers an image behind the last layer. head: multiplications of the head, which always trains.
    """

    images: int
    itemsize: int
    feature_values: int
    head_macs: int


@dataclass(frozen=True)
class CutChoice:
    """at: `layers[:at]` run on the engine, once for each image if `kept`, else in every epoch.

    bytes: of all that is kept. saving: the share of an epoch's arithmetic that is not done. exact_bytes: what keeping
    the boundary itself would take. room: bytes of the budget that it could be chosen for.
    """

    index: int
    layer_name: str
    cached: bool
    cached_bytes: int
    boundary_bytes: int
    saving: float
    budget_left: float


def choose_cuts(
    plans: Sequence[FreezePlan],
    graph: LayerGraph,
    needs: Sequence[StageWorkload],
    max_bytes: float,
    fixed_indices: Sequence[int] | None = None,
) -> list[CutChoice]:
    """Choose the cut of every stage of a run so that all fit `max_bytes` together.

    places: where each stage's cut is to be, of a run that is resumed or done again. Whether it is kept there is chosen
    anew, which changes no number; where it is does, in the fifth digit.

    Else each would push the others' out of the cache, in this run and in every one that repeats it. What is small goes
    first: features take little and save most. A cut that two stages share, of layers that none of them trains, takes
    its room once.
    """
    chosen: dict[int, CutChoice] = {}
    taken: dict[tuple[int, ...], int] = {}
    untouched = min(plan.boundary for plan in plans)
    for i in sorted(range(len(plans)), key=lambda i: _bytes(graph, plans[i].boundary, needs[i]) or 0):
        shared = (plans[i].boundary,)
        room = max_bytes - sum(size for place, size in taken.items() if place != shared)
        chosen[i] = cut = choose_cut(
            plans[i], graph, needs[i], max(room, 0.0), None if fixed_indices is None else fixed_indices[i]
        )
        place = (cut.index,) if cut.index <= untouched else (cut.index, i)
        if cut.cached:
            taken[place] = max(cut.cached_bytes + _beside(needs[i]), taken.get(place, 0))
    return [chosen[i] for i in range(len(plans))]


def choose_cut(
    plan: FreezePlan, graph: LayerGraph, need: StageWorkload, max_bytes: float, fixed_index: int | None = None
) -> CutChoice:
    """Choose the last cut at or before the plan's boundary whose activations fit `max_bytes`; or `place`, kept or not.

    Raises UserError when `place` lies behind the boundary.
    """
    exact = _bytes(graph, plan.boundary, need)
    if fixed_index is not None and fixed_index > plan.boundary:
        raise UserError(
            f"the run was computed with a cut behind layer {fixed_index}, and the boundary is {plan.boundary} now: "
            "it cannot be gone on with or done again. Train anew"
        )
    for at in range(plan.boundary, 0, -1) if fixed_index is None else filter(None, [fixed_index]):
        saving = _saving(graph, at, plan.boundary, need)
        size = _bytes(graph, at, need)
        if saving < MIN_SAVING and fixed_index is None:
            break
        if size is not None and _fits(size, need, max_bytes):
            return CutChoice(at, graph.layers[at - 1].name, True, size, exact or size, saving, max_bytes)
    at = plan.boundary if fixed_index is None else fixed_index
    name = graph.layers[at - 1].name if at else "images"
    return CutChoice(at, name, False, 0, exact or 0, 0.0, max_bytes)


def _fits(size: int, need: StageWorkload, max_bytes: float) -> bool:
    return size + _beside(need) <= max_bytes


def _beside(need: StageWorkload) -> int:
    return INDEX_BYTES_PER_ROW * (need.images + 32)


def _bytes(graph: LayerGraph, at: int, need: StageWorkload) -> int | None:
    if at == len(graph.layers):
        return need.images * need.itemsize * need.feature_values
    shapes = [operation.shape for operation in cut_operations(graph, at)]
    if any(None in shape for shape in shapes):
        return None
    return need.images * need.itemsize * sum(math.prod(side or 0 for side in shape) for shape in shapes)


def _saving(graph: LayerGraph, at: int, boundary: int, need: StageWorkload) -> float:
    """An epoch runs frozen layers forward, and thawed ones forward and, at twice the price, backward."""
    macs = [layer.macs or 0 for layer in graph.layers]
    epoch = sum(macs[:boundary]) + 3 * (sum(macs[boundary:]) + need.head_macs)
    return sum(macs[:at]) / epoch if epoch else 0.0


def summary(
    cut: CutChoice, plan: FreezePlan, need: StageWorkload, max_bytes: float, *, limited_by_disk: bool = False
) -> str:
    """What is kept, what it costs and what it saves, in one printed line; empty when nothing is frozen.

    disk: so many bytes are what the disk has room for, not the budget.
    """
    if plan.boundary == 0:
        return ""
    # Who takes the rest is of interest only where it is missed.
    exact = cut.cached and cut.index == plan.boundary
    budget = f"{format_bytes(max_bytes)}{' that the disk has room for' if limited_by_disk else ''}"
    if not exact and cut.budget_left < max_bytes:
        total = f" of {budget}" if limited_by_disk else ""
        budget = f"{format_bytes(cut.budget_left)} that pixels and other stages leave{total}"
    if cut.cached:
        instead = (
            ""
            if cut.index == plan.boundary
            else f" (layer {cut.index}; the boundary itself takes {format_bytes(cut.boundary_bytes)})"
        )
        return (
            f"keep {'features' if cut.index == plan.total_layers else f'activations at {cut.layer_name}'}{instead} of "
            f"{need.images:,} images: {format_bytes(cut.cached_bytes)} of {budget} · saves {100 * cut.saving:.0f} % of "
            "an epoch's arithmetic"
        )
    if max_bytes <= 0 and not limited_by_disk:
        return "keep nothing (cache.max_gb=0): every epoch runs the frozen layers"
    if _fits(cut.boundary_bytes, need, cut.budget_left):
        return "keep nothing: the frozen layers are too small a part of an epoch's arithmetic; they run in every epoch"
    return (
        f"keep nothing: the boundary takes {format_bytes(cut.boundary_bytes)} of {budget}, and no worthwhile cut "
        "before it fits; every epoch runs the frozen layers "
        f"({'make room on the disk, or set cache.dir to another' if limited_by_disk else 'raise cache.max_gb'})"
    )


def format_bytes(size: float) -> str:
    """Bytes as a person reads them."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"

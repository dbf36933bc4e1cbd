"""Where activations are taken and kept: at the freeze boundary, at a cheaper place before it, or nowhere."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from thaw.common.errors import UserError
from thaw.models.freeze import FreezePlan, cut_operations
from thaw.models.layer_graph import Graph

INDEX = 128  # bytes that the cache may write about a row, beside it; an upper bound
WORTHWHILE = 0.05  # a cut that saves less of an epoch's arithmetic is not worth its bytes


@dataclass(frozen=True)
class Need:
    """What a stage would keep. images: of all splits, each augmented view counted; itemsize: bytes a number.

    pooled: numbers an image behind the last layer. head: multiplications of the head, which always trains.
    """

    images: int
    itemsize: int
    pooled: int
    head: int


@dataclass(frozen=True)
class Cut:
    """at: `layers[:at]` run on the engine, once for each image if `kept`, else in every epoch.

    bytes: of all that is kept. saving: the share of an epoch's arithmetic that is not done. exact_bytes: what keeping
    the boundary itself would take. room: bytes of the budget that it could be chosen for.
    """

    at: int
    name: str
    kept: bool
    bytes: int
    exact_bytes: int
    saving: float
    room: float


def share(
    plans: Sequence[FreezePlan],
    graph: Graph,
    needs: Sequence[Need],
    max_bytes: float,
    places: Sequence[int] | None = None,
) -> list[Cut]:
    """Choose the cut of every stage of a run so that all fit `max_bytes` together.

    places: where each stage's cut is to be, of a run that is resumed or done again. Whether it is kept there is chosen
    anew, which changes no number; where it is does, in the fifth digit.

    Else each would push the others' out of the cache, in this run and in every one that repeats it. What is small goes
    first: features take little and save most. A cut that two stages share, of layers that none of them trains, takes
    its room once.
    """
    chosen: dict[int, Cut] = {}
    taken: dict[tuple[int, ...], int] = {}
    untouched = min(plan.boundary for plan in plans)
    for i in sorted(range(len(plans)), key=lambda i: _bytes(graph, plans[i].boundary, needs[i]) or 0):
        shared = (plans[i].boundary,)
        room = max_bytes - sum(size for place, size in taken.items() if place != shared)
        chosen[i] = cut = choose(plans[i], graph, needs[i], max(room, 0.0), None if places is None else places[i])
        place = (cut.at,) if cut.at <= untouched else (cut.at, i)
        if cut.kept:
            taken[place] = max(cut.bytes + _beside(needs[i]), taken.get(place, 0))
    return [chosen[i] for i in range(len(plans))]


def choose(plan: FreezePlan, graph: Graph, need: Need, max_bytes: float, place: int | None = None) -> Cut:
    """Choose the last cut at or before the plan's boundary whose activations fit `max_bytes`; or `place`, kept or not.

    Raises UserError when `place` lies behind the boundary.
    """
    exact = _bytes(graph, plan.boundary, need)
    if place is not None and place > plan.boundary:
        raise UserError(
            f"the run was computed with a cut behind layer {place}, and the boundary is {plan.boundary} now: it cannot "
            "be gone on with or done again. Train anew"
        )
    for at in range(plan.boundary, 0, -1) if place is None else filter(None, [place]):
        saving = _saving(graph, at, plan.boundary, need)
        size = _bytes(graph, at, need)
        if saving < WORTHWHILE and place is None:
            break
        if size is not None and _fits(size, need, max_bytes):
            return Cut(at, graph.layers[at - 1].name, True, size, exact or size, saving, max_bytes)
    at = plan.boundary if place is None else place
    name = graph.layers[at - 1].name if at else "images"
    return Cut(at, name, False, 0, exact or 0, 0.0, max_bytes)


def _fits(size: int, need: Need, max_bytes: float) -> bool:
    return size + _beside(need) <= max_bytes


def _beside(need: Need) -> int:
    return INDEX * (need.images + 32)


def _bytes(graph: Graph, at: int, need: Need) -> int | None:
    if at == len(graph.layers):
        return need.images * need.itemsize * need.pooled
    shapes = [operation.shape for operation in cut_operations(graph, at)]
    if any(None in shape for shape in shapes):
        return None
    return need.images * need.itemsize * sum(math.prod(side or 0 for side in shape) for shape in shapes)


def _saving(graph: Graph, at: int, boundary: int, need: Need) -> float:
    """An epoch runs frozen layers forward, and thawed ones forward and, at twice the price, backward."""
    macs = [layer.macs or 0 for layer in graph.layers]
    epoch = sum(macs[:boundary]) + 3 * (sum(macs[boundary:]) + need.head)
    return sum(macs[:at]) / epoch if epoch else 0.0


def line(cut: Cut, plan: FreezePlan, need: Need, max_bytes: float, *, disk: bool = False) -> str:
    """What is kept, what it costs and what it saves, in one printed line; empty when nothing is frozen.

    disk: so many bytes are what the disk has room for, not the budget.
    """
    if plan.boundary == 0:
        return ""
    # Who takes the rest is of interest only where it is missed.
    exact = cut.kept and cut.at == plan.boundary
    budget = f"{gb(max_bytes)}{' that the disk has room for' if disk else ''}"
    if not exact and cut.room < max_bytes:
        budget = f"{gb(cut.room)} that pixels and other stages leave{f' of {budget}' if disk else ''}"
    if cut.kept:
        instead = (
            "" if cut.at == plan.boundary else f" (layer {cut.at}; the boundary itself takes {gb(cut.exact_bytes)})"
        )
        return (
            f"keep {'features' if cut.at == plan.total else f'activations at {cut.name}'}{instead} of "
            f"{need.images:,} images: {gb(cut.bytes)} of {budget} · saves {100 * cut.saving:.0f} % of an "
            "epoch's arithmetic"
        )
    if max_bytes <= 0 and not disk:
        return "keep nothing (cache.max_gb=0): every epoch runs the frozen layers"
    if _fits(cut.exact_bytes, need, cut.room):
        return "keep nothing: the frozen layers are too small a part of an epoch's arithmetic; they run in every epoch"
    return (
        f"keep nothing: the boundary takes {gb(cut.exact_bytes)} of {budget}, and no worthwhile cut before it "
        "fits; every epoch runs the frozen layers "
        f"({'make room on the disk, or set cache.dir to another' if disk else 'raise cache.max_gb'})"
    )


def gb(size: float) -> str:
    """Bytes as a person reads them."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"

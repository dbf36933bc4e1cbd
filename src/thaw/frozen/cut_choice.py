"""The choice of a cut: activations are cached at the freeze boundary, at a cheaper cut before it, or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass

from thaw.common.errors import UserError
from thaw.models.freeze import FreezePlan, activation_values_per_image, cut_operations
from thaw.models.layer_graph import LayerGraph

INDEX_BYTES_PER_ROW = 128  # upper bound of what the cache writes for a row besides its values
MIN_SAVING = 0.05  # a cut that saves less of an epoch's arithmetic is not worth its bytes


@dataclass(frozen=True)
class StageWorkload:
    """The size of a stage, from which bytes and savings of a cut are estimated."""

    images: int  # of all splits, each augmented view counted
    itemsize: int  # bytes of a stored number
    feature_values: int  # pooled features per image
    head_macs: int  # multiplications of the head per image; the head always trains


@dataclass(frozen=True)
class CutChoice:
    """The cut of a stage, and whether activations are cached there.

    The engine runs `layers[:index]`, once per image if `cached`, else in every epoch.
    """

    index: int
    layer_name: str  # the last layer before the cut
    cached: bool
    cached_bytes: int  # of all cached activations; 0 if there are none
    boundary_bytes: int  # that the activations at the freeze boundary take
    saving: float  # share of an epoch's multiplications that the cache saves
    budget_left: float  # bytes of the budget that this stage could use


def choose_cuts(
    plans: Sequence[FreezePlan],
    graph: LayerGraph,
    workloads: Sequence[StageWorkload],
    max_bytes: float,
    fixed_indices: Sequence[int] | None = None,
) -> list[CutChoice]:
    """Choose the cut of every stage of a run so that all of them together fit `max_bytes`.

    Otherwise the stages would evict each other's activations, in this run and when it is repeated. The smallest stage
    chooses first: features take little room and save most. Stages that share a cut, of layers that none of them trains,
    share its room.

    `fixed_indices` are the cuts of a run that is resumed or reproduced: another cut changes results in the fifth digit.
    Whether activations are cached there changes nothing, so that is chosen again.
    """
    choices: dict[int, CutChoice] = {}
    used: dict[tuple[int, ...], int] = {}
    never_trained = min(plan.boundary for plan in plans)
    for i in sorted(range(len(plans)), key=lambda i: _activation_bytes(graph, plans[i].boundary, workloads[i]) or 0):
        left = max_bytes - sum(size for key, size in used.items() if key != (plans[i].boundary,))
        index = None if fixed_indices is None else fixed_indices[i]
        choices[i] = cut = choose_cut(plans[i], graph, workloads[i], max(left, 0.0), index)
        key = (cut.index,) if cut.index <= never_trained else (cut.index, i)
        if cut.cached:
            used[key] = max(cut.cached_bytes + _index_bytes(workloads[i]), used.get(key, 0))
    return [choices[i] for i in range(len(plans))]


def choose_cut(
    plan: FreezePlan, graph: LayerGraph, workload: StageWorkload, max_bytes: float, fixed_index: int | None = None
) -> CutChoice:
    """Choose the last worthwhile cut at or before the plan's boundary whose activations fit `max_bytes`.

    With `fixed_index`, only whether activations are cached at that cut is chosen.

    Raises:
        UserError: `fixed_index` lies behind the boundary.
    """
    boundary_bytes = _activation_bytes(graph, plan.boundary, workload) or 0
    if fixed_index is not None and fixed_index > plan.boundary:
        raise UserError(
            f"the run was computed with a cut behind layer {fixed_index}, and the boundary is {plan.boundary} now: "
            "it cannot be resumed or reproduced. Train anew"
        )
    for index in range(plan.boundary, 0, -1) if fixed_index is None else filter(None, [fixed_index]):
        saving = _saving(graph, index, plan.boundary, workload)
        size = _activation_bytes(graph, index, workload)
        if saving < MIN_SAVING and fixed_index is None:
            break
        if size is not None and _fits(size, workload, max_bytes):
            name = graph.layers[index - 1].name
            return CutChoice(index, name, True, size, boundary_bytes or size, saving, max_bytes)
    index = plan.boundary if fixed_index is None else fixed_index
    name = graph.layers[index - 1].name if index else "images"
    return CutChoice(index, name, False, 0, boundary_bytes, 0.0, max_bytes)


def _fits(size: int, workload: StageWorkload, max_bytes: float) -> bool:
    return size + _index_bytes(workload) <= max_bytes


def _index_bytes(workload: StageWorkload) -> int:
    return INDEX_BYTES_PER_ROW * (workload.images + 32)


def _activation_bytes(graph: LayerGraph, index: int, workload: StageWorkload) -> int | None:
    """Return the bytes of all activations at a cut; None when the input's size is free."""
    if index == len(graph.layers):
        values: int | None = workload.feature_values
    else:
        values = activation_values_per_image(cut_operations(graph, index))
    return None if values is None else workload.images * workload.itemsize * values


def _saving(graph: LayerGraph, index: int, boundary: int, workload: StageWorkload) -> float:
    """Return the share of an epoch's multiplications before the cut.

    An epoch runs frozen layers forward, and thawed ones forward and, at twice the cost, backward.
    """
    macs = [layer.macs or 0 for layer in graph.layers]
    epoch = sum(macs[:boundary]) + 3 * (sum(macs[boundary:]) + workload.head_macs)
    return sum(macs[:index]) / epoch if epoch else 0.0


def chain_cuts(boundaries: Sequence[int], indices: Sequence[int]) -> list[tuple[int, ...]]:
    """Return for every stage the later stages whose activations its own are computed from, the first cut first.

    The activations of a stage are computed from those of the nearest cut before its own that a later stage uses, if all
    before that cut stays frozen until then. So each layer runs once for all stages, and whether there is room for the
    activations in the cache changes no number.

    Args:
        boundaries: of the stages.
        indices: of the stages' cuts.
    """
    chains: list[tuple[int, ...]] = [()] * len(indices)
    for i in reversed(range(len(indices))):
        nearest, frozen = None, boundaries[i]
        for later in range(i + 1, len(indices)):
            frozen = min(frozen, boundaries[later])
            possible = 0 < indices[later] <= min(frozen, indices[i])
            if possible and (nearest is None or indices[later] >= indices[nearest]):
                nearest = later
        if nearest is not None:
            same_cut = indices[nearest] == indices[i]
            chains[i] = chains[nearest] if same_cut else (*chains[nearest], nearest)
    return chains


def cut_summary(
    cut: CutChoice, plan: FreezePlan, workload: StageWorkload, max_bytes: float, *, limited_by_disk: bool = False
) -> str:
    """Return one printed line: what is cached, its size and what it saves; empty when nothing is frozen.

    `max_bytes` is the budget of all stages: `cache.max_gb`, or the free space of the disk with `limited_by_disk`.
    """
    if plan.boundary == 0:
        return ""
    # The other users of the budget are named only where their share is missing.
    exact = cut.cached and cut.index == plan.boundary
    budget = f"{format_bytes(max_bytes)}{' that the disk has room for' if limited_by_disk else ''}"
    if not exact and cut.budget_left < max_bytes:
        total = f" of {budget}" if limited_by_disk else ""
        budget = f"{format_bytes(cut.budget_left)} that pixels and other stages leave{total}"
    if cut.cached:
        what = "features" if cut.index == plan.total_layers else f"activations at {cut.layer_name}"
        if not exact:
            what += f" (layer {cut.index}; the boundary itself takes {format_bytes(cut.boundary_bytes)})"
        return (
            f"keep {what} of {workload.images:,} images: {format_bytes(cut.cached_bytes)} of {budget} · "
            f"saves {100 * cut.saving:.0f} % of an epoch's arithmetic"
        )
    if max_bytes <= 0 and not limited_by_disk:
        return "keep nothing (cache.max_gb=0): every epoch runs the frozen layers"
    if _fits(cut.boundary_bytes, workload, cut.budget_left):
        return "keep nothing: the frozen layers are too small a part of an epoch's arithmetic; they run in every epoch"
    return (
        f"keep nothing: the boundary takes {format_bytes(cut.boundary_bytes)} of {budget}, and no worthwhile cut "
        "before it fits; every epoch runs the frozen layers "
        f"({'make room on the disk, or set cache.dir to another' if limited_by_disk else 'raise cache.max_gb'})"
    )


def format_bytes(size: float) -> str:
    """Return a number of bytes as MB or GB, to one decimal."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"

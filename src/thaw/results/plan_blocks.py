"""The freeze plans of a run, block by block, as its report draws them."""

from collections.abc import Iterator

from thaw.models.freeze import FreezePlan
from thaw.models.layer_graph import LayerGraph, LayerInfo
from thaw.report.content import BlockState, StagePlan
from thaw.training.stage_result import TrainingOutcome


def stage_plans(trained: TrainingOutcome) -> list[StagePlan]:
    """Return the plan of each stage: what of every block of the backbone was frozen, and where activations are kept."""
    graph, plans = trained.network.backbone.graph, []
    for result in trained.stages:
        cut = result.planned.cut
        kept_behind = block_of_layer(graph, cut.index - 1) if cut.cached and cut.index else ""
        blocks, summary = block_states(graph, result.plan), result.plan.summary()
        plans.append(StagePlan(result.stage.name, blocks, kept_behind, summary, result.left_out is not None))
    return plans


def block_states(graph: LayerGraph, plan: FreezePlan) -> list[BlockState]:
    """Return what the plan does to each block, in the network's order."""
    states = []
    for name, layers in _blocks(graph):
        frozen = min(max(plan.boundary - layers[0].index, 0), len(layers))
        state = "frozen" if frozen == len(layers) else "partly thawed" if frozen else "thawed"
        states.append(BlockState(name, state, len(layers), sum(layer.params for layer in layers)))
    return states


def block_of_layer(graph: LayerGraph, index: int) -> str:
    """Return the name of the block that holds `layers[index]`."""
    return next(name for name, layers in _blocks(graph) if layers[-1].index >= index)


def _blocks(graph: LayerGraph) -> Iterator[tuple[str, tuple[LayerInfo, ...]]]:
    """Yield name and layers of each block; together they are all layers, as a block begins where the last one ends."""
    start = 0
    for block in graph.blocks:
        yield block.name, graph.layers[start : block.last_layer + 1]
        start = block.last_layer + 1
    if start < len(graph.layers):  # a backbone without named blocks
        yield "backbone", graph.layers[start:]

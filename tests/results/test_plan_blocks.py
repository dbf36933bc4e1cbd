"""A freeze plan over the blocks of a small graph: no TensorFlow."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from thaw.frozen.cut_choice import CutChoice
from thaw.models.backbone_table import BackboneSpec
from thaw.models.freeze import make_plan
from thaw.models.layer_graph import LayerGraph, LayerInfo, Operation, find_blocks
from thaw.results.plan_blocks import block_of_layer, block_states, stage_plans

NAMES = ["images", "pad", "a_conv", "b_conv", "b_bn", "c_conv", "c_relu", "c_bn"]
SPEC = BackboneSpec("X", "tf", 32, 32, block_start=r"^([abc])_")
GRAPH = LayerGraph(
    tuple(LayerInfo(i, name, "Conv2D", (4, 4, 2), 10**i if "conv" in name else 0, 0) for i, name in enumerate(NAMES)),
    tuple(Operation(name, i, (i - 1,) if i else (), (4, 4, 2)) for i, name in enumerate(NAMES)),
    find_blocks(NAMES, SPEC),
)


def states(request: object) -> list[str]:
    return [block.state for block in block_states(GRAPH, make_plan(request, GRAPH, "x", "frozen"))]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("none", "thawed thawed thawed thawed"),
        (1, "partly thawed thawed thawed"),
        ("stem", "frozen thawed thawed thawed"),
        ("b_conv", "frozen frozen partly thawed"),
        ("b", "frozen frozen frozen thawed"),
        (7, "frozen frozen frozen partly"),
        ("all", "frozen frozen frozen frozen"),
    ],
)
def test_a_block_is_frozen_thawed_or_partly_thawed(request_: object, expected: str) -> None:
    assert " ".join(states(request_)).replace("partly thawed", "partly") == expected


def test_every_layer_and_weight_is_in_one_block() -> None:
    blocks = block_states(GRAPH, make_plan("b", GRAPH, "x", "frozen"))
    assert [(block.name, block.layers, block.params) for block in blocks] == [
        ("stem", 2, 0), ("a", 1, 100), ("b", 2, 1_000), ("c", 3, 100_000),
    ]  # fmt: skip


def test_a_backbone_without_blocks_is_one() -> None:
    bare = replace(GRAPH, blocks=())
    (block,) = block_states(bare, make_plan("a_conv", bare, "x", "frozen"))
    assert (block.name, block.state, block.layers) == ("backbone", "partly thawed", 8)


def test_each_stage_has_its_plan_and_the_block_behind_which_activations_are_kept() -> None:
    def stage(name: str, request: object, index: int, *, cached: bool) -> SimpleNamespace:
        cut = CutChoice(index, "", cached, 0, 0, 0.0, 0.0)
        plan = make_plan(request, GRAPH, "x", "frozen")
        planned = SimpleNamespace(cut=cut)
        return SimpleNamespace(stage=SimpleNamespace(name=name), plan=plan, planned=planned, left_out=None)

    stages = [stage("head", "all", 8, cached=True), stage("thaw", "b_bn", 4, cached=True)]
    stages += [stage("more", "a", 3, cached=False), stage("last", "none", 0, cached=False)]
    network = SimpleNamespace(backbone=SimpleNamespace(graph=GRAPH))
    plans = stage_plans(SimpleNamespace(network=network, stages=stages))
    assert [(plan.stage, plan.cut) for plan in plans] == [("head", "c"), ("thaw", "b"), ("more", ""), ("last", "")]
    assert [block.state for block in plans[1].blocks] == ["frozen", "frozen", "frozen", "thawed"]
    assert plans[1].summary.startswith("frozen 5/8 · boundary b_bn, end of block b")


def test_a_layer_lies_in_the_block_that_ends_at_it_or_behind_it() -> None:
    assert [block_of_layer(GRAPH, i) for i in range(8)] == ["stem", "stem", "a", "b", "b", "c", "c", "c"]

"""Freeze plans on plain graphs: no TensorFlow."""

import pytest

from thaw.common.errors import UserError
from thaw.models.backbone_table import BackboneSpec
from thaw.models.freeze import make_plan, resolve_boundary
from thaw.models.freeze_proof import FreezeBroken, prove_frozen
from thaw.models.layer_graph import LayerGraph, LayerInfo, Operation, find_blocks


def chain_with_branch() -> LayerGraph:
    """images -> a1 -> b1 -> b2 (adds a1) -> c1: block b holds a residual, so a cut inside it has two tensors."""
    names = ["images", "a_conv", "b_conv", "b_bn", "b_add", "c_conv"]
    inputs: list[tuple[int, ...]] = [(), (1,), (2,), (3,), (2, 4), (5,)]
    layers = tuple(LayerInfo(i, n, "Conv2D", (4, 4, 2), 10 * i, 2 if n == "b_bn" else 0) for i, n in enumerate(names))
    operations = [Operation("images", 0, (), (4, 4, 3)), Operation("preprocess", None, (0,), (4, 4, 3))]
    operations += [Operation(n, i, inputs[i], (4, 4, 2)) for i, n in enumerate(names) if i]
    return LayerGraph(
        layers, tuple(operations), find_blocks(names, BackboneSpec("X", "tf", 32, 32, block_start=r"^([abc])_"))
    )


GRAPH = chain_with_branch()


@pytest.mark.parametrize(
    ("request_", "expected"),
    [(3, 3), ("3", 3), (0, 0), (6, 6), ("none", 0), ("all", 6), (0.5, 3), ("0.5", 3), ("b_bn", 4), ("b", 5), ("c", 6)],
)
def test_a_request_means_so_many_frozen_layers(request_: object, expected: int) -> None:
    assert resolve_boundary(request_, GRAPH, "x") == expected


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (7, "has 6 layers; give 0 to 6"),
        (-1, "give 0 to 6"),
        (1.0, "no fraction between 0 and 1"),
        (0.0, "no fraction between 0 and 1"),
        ("b_bm", "Did you mean 'b_bn'"),
        ("nothing_like_it", "neither a layer nor a block of x"),
        (None, "is not understood"),
        (True, "is not understood"),
    ],
)
def test_a_request_that_does_not_exist_is_named(request_: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        resolve_boundary(request_, GRAPH, "x")


def test_a_cut_inside_a_residual_has_two_tensors() -> None:
    inside = make_plan("b_bn", GRAPH, "x", "frozen")
    assert inside.cut_names == ("a_conv", "b_bn")
    assert (inside.block, inside.inside_block) == ("b", True)
    assert inside.cut_values == 2 * 4 * 4 * 2


def test_a_cut_at_a_blocks_end_has_one_tensor() -> None:
    end = make_plan("b", GRAPH, "x", "frozen")
    assert end.cut_names == ("b_add",)
    assert not end.inside_block
    assert end.summary() == (
        "frozen 5/6 · boundary b_add, end of block b · cut 1 tensor, 0.00013 MB/image · trainable 33.3 %"
    )


def test_everything_frozen_cuts_before_the_head() -> None:
    assert make_plan("all", GRAPH, "x", "frozen").cut_names == ("c_conv",)
    assert make_plan("all", GRAPH, "x", "frozen").trainable_params == 0


def test_the_line_speaks_of_statistics_only_where_some_are_thawed() -> None:
    assert "BatchNorm statistics fixed" in make_plan("a", GRAPH, "x", "frozen").summary()
    assert "BatchNorm statistics updated" in make_plan("a", GRAPH, "x", "trainable").summary()
    assert "BatchNorm" not in make_plan("b_bn", GRAPH, "x", "frozen").summary()


class Weight:
    def __init__(self, path: str) -> None:
        self.path = path


class Norm:
    """As much of a Keras layer as the proof looks at."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.trainable_variables = [Weight(f"{name}/gamma")]
        self.weights = [*self.trainable_variables, Weight(f"{name}/moving_mean")]


LAYERS = [Norm(name) for name in ("images", "a_conv", "b_conv", "b_bn", "b_add", "c_conv")]


def changed(*paths: str) -> tuple[dict, dict]:
    before = {layer.name: {w.path: "old" for w in layer.weights} for layer in LAYERS}
    after = {name: {p: "new" if p in paths else "old" for p in hashes} for name, hashes in before.items()}
    return before, after


def test_a_frozen_weight_that_moved_stops_the_run() -> None:
    with pytest.raises(FreezeBroken, match="a_conv/gamma"):
        prove_frozen(*changed("a_conv/gamma", "c_conv/gamma"), LAYERS, make_plan("b", GRAPH, "x", "frozen"))


def test_a_statistic_that_moved_stops_the_run_unless_statistics_train() -> None:
    moved = changed("c_conv/gamma", "c_conv/moving_mean")
    with pytest.raises(FreezeBroken, match="c_conv/moving_mean"):
        prove_frozen(*moved, LAYERS, make_plan("b", GRAPH, "x", "frozen"))
    assert prove_frozen(*moved, LAYERS, make_plan("b", GRAPH, "x", "trainable")) == []


def test_a_frozen_layers_statistic_never_moves() -> None:
    with pytest.raises(FreezeBroken, match="a_conv/moving_mean"):
        prove_frozen(*changed("a_conv/moving_mean", "c_conv/gamma"), LAYERS, make_plan("b", GRAPH, "x", "trainable"))


def test_a_thawed_layer_that_did_not_move_is_named() -> None:
    assert prove_frozen(*changed("c_conv/gamma"), LAYERS, make_plan("b_conv", GRAPH, "x", "frozen")) == [
        "b_bn",
        "b_add",
    ]


def test_a_stage_in_which_nothing_moved_stops_the_run() -> None:
    with pytest.raises(FreezeBroken, match="none of the 1 thawed layers moved"):
        prove_frozen(*changed(), LAYERS, make_plan("b", GRAPH, "x", "frozen"))

"""The arithmetic of a network and of a training step."""

import pytest

from thaw.models.layer_graph import LayerGraph, LayerInfo, Operation
from thaw_lab.benchmark import arithmetic

HEAD = 10


def chain(*layers: tuple[int, int]) -> LayerGraph:
    """A network of layers in a row. layers: weights and multiplications of each."""
    infos = [LayerInfo(i, f"layer{i}", "Conv2D", (1,), params, 0, macs) for i, (params, macs) in enumerate(layers)]
    operations = [Operation(f"layer{i}", i, (i - 1,) if i else (), (1,)) for i in range(len(layers))]
    return LayerGraph(tuple(infos), tuple(operations), ())


NETWORK = chain((0, 0), (5, 100), (7, 200), (0, 0), (9, 400))


def test_an_image_forward_takes_an_addition_with_every_multiplication() -> None:
    assert arithmetic.forward_gflop(NETWORK) == pytest.approx(2e-9 * 700)


def test_the_first_thawed_layer_needs_no_gradient_of_its_input() -> None:
    forward, kernels, inputs = 200 + 400, 200 + 400, 400
    assert arithmetic.step_gflop(NETWORK, 2, 2, HEAD) == pytest.approx(2e-9 * (forward + kernels + inputs + 3 * HEAD))


def test_frozen_layers_behind_the_cut_run_forward_only() -> None:
    without = arithmetic.step_gflop(NETWORK, 2, 2, HEAD)
    assert arithmetic.step_gflop(NETWORK, 1, 2, HEAD) == pytest.approx(without + 2e-9 * 100)
    assert arithmetic.step_gflop(NETWORK, 0, 2, HEAD) == pytest.approx(without + 2e-9 * 100)


def test_a_second_branch_from_frozen_tensors_needs_no_gradient_of_its_input_either() -> None:
    infos = [LayerInfo(i, f"layer{i}", "Conv2D", (1,), 5, 0, 100) for i in range(4)]
    inputs: tuple[tuple[int, ...], ...] = ((), (0,), (0,), (1, 2))  # two branches that a last layer joins
    operations = [Operation(f"layer{i}", i, inputs[i], (1,)) for i in range(4)]
    graph = LayerGraph(tuple(infos), tuple(operations), ())
    assert arithmetic.step_gflop(graph, 1, 1, HEAD) == pytest.approx(2e-9 * (300 + 300 + 100 + 3 * HEAD))


def test_a_step_of_several_precisions_is_held_against_the_fastest() -> None:
    assert arithmetic.limit_precision("float32") == "float32"
    assert {arithmetic.limit_precision(name) for name in ("bfloat16", "mixed")} == {"bfloat16"}

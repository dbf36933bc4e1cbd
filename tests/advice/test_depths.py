"""Which depths of a network are compared, and what is suggested from their figures. No TensorFlow."""

from dataclasses import replace

import pytest

from thaw.advice.depths import (
    Depth,
    DepthFigures,
    NetworkFigures,
    candidate_depths,
    may_be_thawed_behind,
    suggest,
    transfer_scores,
)
from thaw.models.layer_graph import Block, LayerGraph, LayerInfo


def graph_of(*layers: tuple[str, int, int]) -> LayerGraph:
    """A network of one layer a block: its name ("" for no block), side of its maps, channels."""
    infos = tuple(LayerInfo(i, f"layer{i}", "Conv", (side, side, c), 10, 0) for i, (_, side, c) in enumerate(layers))
    return LayerGraph(infos, (), tuple(Block(name, i) for i, (name, _, _) in enumerate(layers) if name))


GRAPH = graph_of(
    ("stem", 112, 32), ("one", 112, 16), ("two_a", 56, 24), ("two_b", 56, 24), ("three", 28, 40), ("four", 14, 80),
    ("five", 14, 112), ("six", 7, 192), ("", 7, 1280),
)  # fmt: skip


def test_the_last_block_of_each_size_of_maps_is_a_depth_and_the_whole_network_is_the_last() -> None:
    assert [(d.block, d.boundary, d.shape) for d in candidate_depths(GRAPH)] == [
        ("one", 2, (112, 112, 16)), ("two_b", 4, (56, 56, 24)), ("three", 5, (28, 28, 40)), ("five", 7, (14, 14, 112)),
        ("all", 9, (7, 7, 1280)),
    ]  # fmt: skip


def test_a_network_without_blocks_has_one_depth() -> None:
    assert [d.block for d in candidate_depths(graph_of(("", 8, 4), ("", 4, 8)))] == ["all"]


def test_large_maps_and_the_end_are_no_place_to_thaw_behind() -> None:
    depths = candidate_depths(GRAPH)
    assert [d.block for d in depths if may_be_thawed_behind(d, 224)] == ["three", "five"]
    assert may_be_thawed_behind(Depth("three", 5, (33, 33, 48)), 260), "a size that does not divide is rounded up"


def network(name: str, accuracy: float | None, seconds: dict[str, float]) -> NetworkFigures:
    """A network of GRAPH whose whole features have an accuracy; seconds of an epoch by block."""
    figures = tuple(
        DepthFigures(depth, accuracy if depth.block == "all" else 0.5, 0.01, 1000, seconds.get(depth.block))
        for depth in candidate_depths(GRAPH)
    )
    return NetworkFigures(name, 224, figures, epochs=5)


def test_it_is_thawed_as_deep_as_the_time_allows() -> None:
    one = network("a", 0.8, {"three": 60.0, "five": 20.0})
    for seconds, freeze, cost in ((600, "three", 300.0), (250, "five", 100.0)):
        found = suggest([one], seconds)
        assert (found.backbone, found.freeze, found.seconds) == ("a", freeze, cost)
        assert f"what lies behind {freeze} is the most that can be thawed in {seconds} s" in found.why
    found = suggest([one], 99)
    assert (found.freeze, found.seconds) == ("all", 0.0)
    assert found.why == "a (accuracy 0.800 without thawing), and thawing any part of it takes more than 99 s"


@pytest.mark.parametrize(
    ("first", "second", "chosen", "why"),
    [
        (0.90, 0.80, "a", "a has the best features"),
        (0.80, 0.90, "b", "b has the best features"),
        (0.80, 0.805, "a", "a has features as good as the best, and trains faster"),  # within a standard error of 0.01
    ],
)
def test_of_networks_the_best_features_count_and_within_their_error_the_faster(
    first: float, second: float, chosen: str, why: str
) -> None:
    networks = [network("a", first, {"three": 10.0}), network("b", second, {"three": 30.0})]
    for order in (networks, networks[::-1]):
        found = suggest(order, 600)
        assert found.backbone == chosen
        assert found.why.startswith(why)


def test_what_thawing_gains_is_told_by_the_accuracy_on_imagenet() -> None:
    """A small network whose frozen features are a little better is not taken for that."""
    small = replace(network("small", 0.76, {"three": 5.0}), imagenet=0.506)
    large = replace(network("large", 0.75, {"three": 30.0}), imagenet=0.751)
    for order in ([small, large], [large, small]):
        found = suggest(order, 600)
        assert found.backbone == "large"
        assert found.why.startswith("large ranks first (accuracy 0.750 without thawing, 0.751 on ImageNet)")
    much_better = replace(network("small", 0.92, {"three": 5.0}), imagenet=0.506)
    assert suggest([much_better, large], 600).backbone == "small", "what the data say is not drowned"
    alike = replace(network("alike", 0.752, {"three": 10.0}), imagenet=0.75)
    found = suggest([large, alike], 600)
    assert found.why.startswith("alike ranks as high as the first, and trains faster (accuracy 0.752")
    unknown = network("unknown", 0.76, {"three": 5.0})
    assert suggest([unknown, large], 600).backbone == "unknown", "of one ImageNet is not known: features alone count"


def test_an_accuracy_of_one_is_a_score_like_others() -> None:
    perfect = network("perfect", 1.0, {"three": 5.0})
    assert suggest([network("a", 0.98, {"three": 1.0}), perfect], 600).backbone == "perfect"
    first, second = transfer_scores([perfect, network("a", None, {})])
    assert first > 0 > second


def test_sides_of_one_network_are_compared_as_networks_are() -> None:
    large = network("a", 0.9, {"three": 30.0})
    small = replace(network("a", 0.895, {"three": 10.0}), image_size=160)
    found = suggest([large, small], 600)
    assert (found.image_size, found.seconds) == (160, 50.0)
    assert found.why.startswith("a at 160 px has features as good as the best, and trains faster (accuracy 0.895")


def test_the_epochs_of_each_network_count() -> None:
    large = network("a", 0.9, {"three": 30.0})
    small = replace(network("a", 0.895, {"three": 25.0}), image_size=160, epochs=7)
    found = suggest([large, small], 600)
    assert (found.image_size, found.seconds, found.epochs) == (224, 150.0, 5), "not 7 epochs of 25 seconds"
    found = suggest([large, small], 100)
    assert (found.freeze, found.epochs) == ("all", 5)


def test_a_class_with_one_image_leaves_no_accuracy_and_still_a_suggestion() -> None:
    found = suggest([network("a", None, {"five": 10.0})], 600)
    assert found.why.startswith("a (a class has too few images to judge features by), and what lies behind five")
    assert found.freeze == "five"
    found = suggest([network("a", None, {"five": 10.0}), network("b", None, {"five": 5.0})], 600)
    assert found.backbone == "a", "nothing speaks for another one than the first"


def test_depths_are_values() -> None:
    assert Depth("all", 9, (7, 7, 1280)) == candidate_depths(GRAPH)[-1]

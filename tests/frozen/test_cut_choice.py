"""Where activations are kept, on plain graphs: no TensorFlow."""

import pytest

from thaw.common.errors import UserError
from thaw.frozen.cut_choice import (
    INDEX_BYTES_PER_ROW,
    MIN_SAVING,
    CutChoice,
    StageWorkload,
    chain_cuts,
    choose_cut,
    choose_cuts,
    cut_summary,
    format_bytes,
)
from thaw.models import freeze
from thaw.models.backbone_table import BackboneSpec
from thaw.models.layer_graph import LayerGraph, LayerInfo, Operation, find_blocks

ROW = BackboneSpec("X", "tf", 8, 8, block_start=r"^([abcd])_")


def chain(*steps: tuple[str, tuple[int | None, ...], int | None]) -> LayerGraph:
    """images, then layers one behind the other: name, shape of the output, multiplications."""
    layers = [LayerInfo(0, "images", "InputLayer", (8, 8, 3), 0, 0, 0)]
    layers += [LayerInfo(i, name, "Conv2D", shape, 10, 0, macs) for i, (name, shape, macs) in enumerate(steps, start=1)]
    operations = tuple(Operation(x.name, x.index, (x.index - 1,) if x.index else (), x.shape) for x in layers)
    return LayerGraph(tuple(layers), operations, find_blocks([x.name for x in layers], ROW))


# Numbers an image at each cut: 256, 64, 128, 32; the pooled features are 8. Multiplications: 1,000 in all.
GRAPH = chain(
    ("a_conv", (8, 8, 4), 100), ("b_conv", (4, 4, 4), 300), ("c_conv", (4, 4, 8), 400), ("d_conv", (2, 2, 8), 200)
)
NEED = StageWorkload(images=10, itemsize=4, feature_values=8, head_macs=50)
PLENTY = 1e9


def cut(request: object, max_bytes: float, graph: LayerGraph = GRAPH, need: StageWorkload = NEED) -> CutChoice:
    """max_bytes is of the rows alone: what the cache writes beside them comes on top."""
    return choose_cut(
        freeze.make_plan(request, graph, "x", "frozen"), graph, need, max_bytes and max_bytes + beside(need)
    )


def beside(need: StageWorkload) -> int:
    return INDEX_BYTES_PER_ROW * (need.images + 32)


def said(
    request: object, max_bytes: float, graph: LayerGraph = GRAPH, need: StageWorkload = NEED, *, disk: bool = False
) -> str:
    plan = freeze.make_plan(request, graph, "x", "frozen")
    return cut_summary(
        choose_cut(plan, graph, need, max_bytes and max_bytes + beside(need)),
        plan,
        need,
        max_bytes,
        limited_by_disk=disk,
    )


def test_the_boundary_itself_is_kept_when_it_fits() -> None:
    exact = 10 * 4 * 128
    for room in (PLENTY, exact):
        found = cut("c_conv", room)
        assert (found.index, found.layer_name, found.cached) == (4, "c_conv", True)
        assert found.cached_bytes == found.boundary_bytes == exact


def test_the_saving_is_the_frozen_share_of_an_epochs_multiplications() -> None:
    """Frozen up to c: an epoch runs 800 forward, and 200 + 50 of the head forward and, at twice the price, backward."""
    assert cut("c_conv", PLENTY).saving == pytest.approx(800 / (800 + 3 * (200 + 50)))


def test_an_earlier_cut_saves_only_what_lies_before_it() -> None:
    """At b 400 of the 800 frozen multiplications are left to every epoch."""
    assert cut("c_conv", 10 * 4 * 64).saving == pytest.approx(400 / (800 + 3 * (200 + 50)))


def test_the_next_cheaper_cut_is_kept_when_the_boundary_does_not_fit() -> None:
    found = cut("c_conv", 10 * 4 * 128 - 1)
    assert (found.index, found.layer_name, found.cached) == (3, "b_conv", True)
    assert (found.cached_bytes, found.boundary_bytes) == (10 * 4 * 64, 10 * 4 * 128)


def test_the_last_cut_that_fits_is_taken_and_not_the_smallest() -> None:
    """a costs least here, but leaves most to do again."""
    graph = chain(
        ("a_conv", (2, 2, 1), 300), ("b_conv", (2, 2, 2), 300), ("c_conv", (8, 8, 8), 300), ("d_conv", (1, 1, 1), 9)
    )
    assert cut("c_conv", 10 * 4 * 8, graph).layer_name == "b_conv"


def test_nothing_is_kept_when_nothing_fits() -> None:
    found = cut("c_conv", 10 * 4 * 64 - 1)
    assert (found.index, found.layer_name, found.cached) == (4, "c_conv", False)
    assert (found.cached_bytes, found.saving, found.boundary_bytes) == (0, 0.0, 10 * 4 * 128)


def test_nothing_is_kept_for_a_saving_not_worth_its_bytes() -> None:
    """Only a is frozen: 100 of 100 + 3 * (900 + head) multiplications, less than a 20th of an epoch."""
    assert MIN_SAVING > 100 / (100 + 3 * (900 + 50))
    assert not cut("a_conv", PLENTY).cached


def test_a_cheaper_cut_is_not_taken_for_a_saving_not_worth_its_bytes() -> None:
    graph = chain(("a_conv", (1, 1, 1), 10), ("b_conv", (8, 8, 8), 500), ("c_conv", (4, 4, 8), 100))
    assert cut("b_conv", PLENTY, graph).cached
    assert not cut("b_conv", 10 * 4 * 511, graph).cached


def test_a_free_side_has_no_known_size_and_is_passed_over() -> None:
    graph = chain(("a_conv", (4, 4, 4), 500), ("b_conv", (None, None, 4), None), ("c_conv", (4, 4, 4), 100))
    found = cut("b_conv", PLENTY, graph)
    assert (found.layer_name, found.cached, found.cached_bytes) == ("a_conv", True, 10 * 4 * 64)


def test_with_everything_frozen_the_pooled_features_are_kept() -> None:
    found = cut("all", PLENTY)
    assert (found.index, found.cached, found.cached_bytes) == (5, True, 10 * 4 * 8)
    assert found.saving == pytest.approx(1000 / (1000 + 3 * 50))


def test_bytes_count_every_image_and_the_size_of_a_number() -> None:
    for images, itemsize in ((10, 4), (70, 4), (10, 2)):
        need = StageWorkload(images, itemsize, NEED.feature_values, NEED.head_macs)
        assert cut("c_conv", PLENTY, need=need).cached_bytes == images * itemsize * 128


def test_a_cut_inside_a_residual_counts_all_its_tensors() -> None:
    """d adds c to a, so a crosses every cut between them."""
    straight = GRAPH.operations
    joined = Operation("d_conv", 4, (1, 3), (2, 2, 8))
    graph = LayerGraph(GRAPH.layers, (*straight[:4], joined), GRAPH.blocks)
    assert cut("c_conv", PLENTY, graph).cached_bytes == 10 * 4 * (256 + 128)


def test_nothing_is_kept_without_a_budget() -> None:
    found = cut("c_conv", 0.0)
    assert (found.index, found.cached, found.cached_bytes) == (4, False, 0)


def test_nothing_frozen_is_nothing_to_keep_and_nothing_to_say() -> None:
    found = cut("none", PLENTY)
    assert (found.index, found.cached) == (0, False)
    assert said("none", PLENTY) == ""


def test_the_line_says_what_is_kept_with_bytes_and_saving() -> None:
    text = said("c_conv", 2e9, need=StageWorkload(100_000, 4, 8, 50))
    assert "activations at c_conv of 100,000 images: 51.2 MB of 2.0 GB" in text
    assert "saves 52 %" in text  # 800 of 1,550
    assert "boundary" not in text


def test_the_line_says_what_is_kept_instead_and_what_the_boundary_takes() -> None:
    text = said("c_conv", 40e6, need=StageWorkload(100_000, 4, 8, 50))
    assert "activations at b_conv (layer 3; the boundary itself takes 51.2 MB) of 100,000 images: 25.6 MB" in text
    assert "saves 26 %" in text


def test_the_line_names_features_when_all_is_frozen() -> None:
    text = said("all", PLENTY)
    assert text.startswith("keep features of 10 images")
    assert "saves 87 %" in text  # 1,000 of 1,150


def test_the_line_says_what_it_takes_when_nothing_fits() -> None:
    text = said("c_conv", 1e6, need=StageWorkload(100_000, 4, 8, 50))
    assert text.startswith("keep nothing")
    assert "51.2 MB of 1.0 MB" in text
    assert "raise cache.max_gb" in text


def test_the_line_says_when_it_is_the_disk_that_has_no_more_room() -> None:
    text = said("c_conv", 2e9, need=StageWorkload(100_000, 4, 8, 50), disk=True)
    assert "51.2 MB of 2.0 GB that the disk has room for · saves" in text
    for room in (1e6, 0.0):
        text = said("c_conv", room, need=StageWorkload(100_000, 4, 8, 50), disk=True)
        assert f"the boundary takes 51.2 MB of {format_bytes(room)} that the disk has room for" in text
        assert "make room on the disk, or set cache.dir to another" in text
        assert "cache.max_gb" not in text


def test_the_line_says_that_the_cache_is_off() -> None:
    text = said("c_conv", 0.0)
    assert text.startswith("keep nothing")
    assert "cache.max_gb=0" in text


def test_the_line_does_not_ask_for_room_where_there_is_plenty() -> None:
    """What fits and is not kept, because it saves next to nothing, does not get cheaper with a larger budget."""
    text = said("a_conv", PLENTY)
    assert text.startswith("keep nothing")
    assert "raise cache.max_gb" not in text


def test_bytes_are_readable() -> None:
    assert [format_bytes(x) for x in (0, 51_200_000, 1_250_000_000)] == ["0.0 MB", "51.2 MB", "1.2 GB"]


def together(room: float, *requests: object) -> list[CutChoice]:
    plans = [freeze.make_plan(request, GRAPH, "x", "frozen") for request in requests]
    return choose_cuts(plans, GRAPH, [NEED] * len(plans), room)


def test_the_cuts_of_all_stages_fit_the_budget_together() -> None:
    """Features (8 numbers) and c (128) of 10 images fit together; with a byte less c gives way to b, the smaller."""
    both = 10 * 4 * 8 + 10 * 4 * 128 + 2 * beside(NEED)
    head, thaw = together(both, "all", "c_conv")
    assert (head.index, thaw.index, head.cached_bytes + thaw.cached_bytes) == (5, 4, 10 * 4 * 136)
    head, thaw = together(both - 1, "all", "c_conv")
    assert (head.index, thaw.index) == (5, 3)
    assert thaw.cached
    assert "that pixels and other stages leave" in cut_summary(
        thaw, freeze.make_plan("c_conv", GRAPH, "x", "frozen"), NEED, both - 1
    )


def test_what_is_small_is_kept_first_in_whatever_order_the_stages_come() -> None:
    room = 10 * 4 * 8 + beside(NEED)
    assert [cut.cached for cut in together(room, "c_conv", "all")] == [False, True]
    assert [cut.cached for cut in together(room, "all", "c_conv")] == [True, False]


def test_two_stages_at_one_cut_keep_it_once_unless_it_is_trained_between_them() -> None:
    room = 10 * 4 * 128 + beside(NEED)
    assert [cut.cached for cut in together(room, "c_conv", "c_conv")] == [True, True]
    assert [cut.cached for cut in together(room, "c_conv", "none", "c_conv")] == [True, False, False]


def test_a_run_that_is_done_again_is_cut_where_it_was_whatever_room_there_is() -> None:
    """Where it is cut decides on the last bits; whether it is kept there does not."""
    plans = [freeze.make_plan(request, GRAPH, "x", "frozen") for request in ("all", "c_conv")]
    cheap = choose_cuts(plans, GRAPH, [NEED, NEED], 10 * 4 * (8 + 64) + 2 * beside(NEED))
    assert [entry.index for entry in cheap] == [5, 3]
    again = choose_cuts(plans, GRAPH, [NEED, NEED], PLENTY, [entry.index for entry in cheap])
    assert [(entry.index, entry.cached) for entry in again] == [(5, True), (3, True)]
    nowhere = choose_cuts(plans, GRAPH, [NEED, NEED], 0.0, [entry.index for entry in cheap])
    assert [(entry.index, entry.cached) for entry in nowhere] == [(5, False), (3, False)]
    with pytest.raises(UserError, match="a cut behind layer 5, and the boundary is 4 now"):
        choose_cuts(plans[1:], GRAPH, [NEED], PLENTY, [5])


@pytest.mark.parametrize(
    ("boundaries", "indices", "chains"),
    [
        ([311, 172], [311, 172], [(1,), ()]),  # a head, then what is thawed
        ([311, 249, 172], [311, 249, 172], [(2, 1), (2,), ()]),
        ([311, 172, 249], [311, 172, 249], [(1,), (), ()]),  # what lies before 249 has trained by then
        ([311, 0], [311, 0], [(), ()]),  # nothing frozen
        ([311, 0, 172], [311, 0, 172], [(), (), ()]),
        ([172, 172], [172, 172], [(), ()]),  # the same cut: the same rows
        ([311, 311, 172], [311, 311, 172], [(2,), (2,), ()]),
        ([249, 249, 249], [249, 172, 249], [(), (), ()]),  # as the last stage's, which has none
        ([311, 249, 249], [311, 172, 249], [(2,), (), ()]),
        ([311], [311], [()]),
        ([], [], []),
    ],
)
def test_activations_are_computed_from_the_nearest_cut_that_a_later_stage_uses(
    boundaries: list[int], indices: list[int], chains: list[tuple[int, ...]]
) -> None:
    assert chain_cuts(boundaries, indices) == chains

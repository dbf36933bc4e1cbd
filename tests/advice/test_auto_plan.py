"""What recipe=auto trains within a time. No TensorFlow."""

import pytest

from thaw.advice.auto_plan import (
    SPARE,
    Plan,
    TimedDepth,
    choose_plan,
    more_time_sentence,
    plan_at_side,
    plan_within,
    smaller_sides,
)
from thaw.advice.depths import Depth

DEEP, SHALLOW = TimedDepth(Depth("three", 5, (28, 28, 40)), 60.0), TimedDepth(Depth("five", 7, (14, 14, 112)), 20.0)


@pytest.mark.parametrize(
    ("seconds", "plan"),
    [
        (1000, Plan("three", 10, 600.0)),  # twice the usual epochs, and no more
        (300, Plan("three", 5, 300.0)),
        (120, Plan("three", 2, 120.0)),
        (119, Plan("five", 5, 100.0)),
        (40, Plan("five", 2, 40.0)),
        (39, Plan("all", 0, 0.0)),
        (-5, Plan("all", 0, 0.0)),
    ],
)
def test_the_most_of_the_network_is_thawed_of_which_two_epochs_fit(seconds: float, plan: Plan) -> None:
    assert choose_plan([SHALLOW, DEEP], 5, seconds) == plan


def test_with_more_time_no_less_is_thawed_and_behind_one_boundary_not_for_fewer_epochs() -> None:
    plans = [choose_plan([DEEP, SHALLOW], 4, seconds) for seconds in range(0, 900, 7)]
    order = ["all", "five", "three"]
    assert [order.index(plan.freeze) for plan in plans] == sorted(order.index(plan.freeze) for plan in plans)
    for name in order:
        epochs = [plan.epochs for plan in plans if plan.freeze == name]
        assert epochs == sorted(epochs)
    assert all(plan.seconds <= seconds for plan, seconds in zip(plans, range(0, 900, 7), strict=True))


def test_a_stage_of_one_epoch_is_none_too_short() -> None:
    assert choose_plan([DEEP], 1, 60) == Plan("three", 1, 60.0)


def test_what_was_chosen_is_left_if_less_time_is_there_than_thought() -> None:
    assert plan_within(DEEP, 5, 120) == Plan("three", 2, 120.0)
    assert plan_within(DEEP, 5, 119) == Plan("all", 0, 0.0), "one epoch is worse than none"
    assert plan_within(DEEP, 1, 60) == Plan("three", 1, 60.0)


def test_what_comes_once_before_the_epochs_takes_of_the_time_and_of_the_boundarys_own_alone() -> None:
    slow = TimedDepth(DEEP.depth, 60.0, tracing_seconds=15.0, range_test_seconds=5.0)
    assert choose_plan([slow], 5, 140) == Plan("three", 2, 120.0)
    assert choose_plan([slow], 5, 139) == Plan("all", 0, 0.0)
    assert choose_plan([slow, SHALLOW], 5, 139) == Plan("five", 6, 120.0), "the other one has no start that long"
    assert "budget=9m would train 5 epochs" in more_time_sentence(Plan("five", 5, 100.0), [slow, SHALLOW], 5, 115.0)


def test_nothing_to_thaw_leaves_the_network_frozen() -> None:
    assert choose_plan([], 5, 1000) == Plan("all", 0, 0.0)


def test_a_larger_budget_is_named_and_then_chosen() -> None:
    sentence = more_time_sentence(Plan("five", 5, 100.0), [DEEP, SHALLOW], 5, 50.0)
    assert sentence == "more time: budget=7m would train 5 epochs behind three (60 s each)"
    assert choose_plan([DEEP, SHALLOW], 5, SPARE * (7 * 60 - 50)) == Plan("three", 5, 300.0)
    assert "budget=13m would train 10 epochs" in more_time_sentence(Plan("three", 5, 300.0), [DEEP, SHALLOW], 5, 50.0)
    assert "would train no longer, 10 epochs" in more_time_sentence(Plan("three", 10, 600.0), [DEEP, SHALLOW], 5, 50.0)


@pytest.mark.parametrize(
    ("side", "smallest", "sides"),
    [(224, 32, [192, 160]), (240, 32, [224, 192]), (299, 75, [288, 256, 224]), (160, 32, [128]), (96, 32, []),
     (224, 180, [192])],
)  # fmt: skip
def test_smaller_sides_are_multiples_of_32_down_to_70_percent(side: int, smallest: int, sides: list[int]) -> None:
    assert smaller_sides(side, smallest) == sides


def test_time_grows_with_the_area_of_pictures() -> None:
    assert plan_at_side(1.0, [DEEP, SHALLOW], 5, 89, 50) == Plan("all", 0, 0.0)
    assert plan_at_side(0.5, [DEEP, SHALLOW], 5, 42.5, 50) == Plan("three", 2, 30.0)
    assert plan_at_side(0.5, [DEEP, SHALLOW], 5, 42.4, 50) == Plan("five", 5, 25.0)

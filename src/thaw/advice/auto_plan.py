"""What recipe=auto trains within a time: how much of a network, and for how many epochs. No TensorFlow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from thaw.advice.depths import WHOLE, Depth
from thaw.common.durations import short_seconds

# A boundary is taken if this many epochs behind it fit: a single one at the usual rate ended below the head alone
# (clothing photos, behind block5c: validation 0.771 after one epoch, 0.903 after two, 0.862 of the head).
FEWEST_EPOCHS = 2
SPARE = 0.9  # of a time from which plans are made before features are kept, which may take longer than thought
_SMALLEST_SIDE = 0.7  # of the usual side: below, less would be gained by thawing than is lost by the pictures
_MOST = 2.0  # epochs, as a multiple of those of stage thaw without a budget


@dataclass(frozen=True)
class TimedDepth:
    """A boundary that may be chosen.

    epoch_seconds: of training what lies behind, with validation. tracing_seconds: that the first step takes longer.
    range_test_seconds: of finding a rate, where that is asked for.
    """

    depth: Depth
    epoch_seconds: float
    tracing_seconds: float = 0.0
    range_test_seconds: float = 0.0

    @property
    def starting_seconds(self) -> float:
        """Of what comes once, besides the epochs."""
        return self.tracing_seconds + self.range_test_seconds


@dataclass(frozen=True)
class Plan:
    """What is trained: `finetune.freeze` ("all": only a head), epochs of stage thaw, and the seconds that they take."""

    freeze: str
    epochs: int
    seconds: float


def choose_plan(depths: Sequence[TimedDepth], usual_epochs: int, seconds: float) -> Plan:
    """Return what is thawed within a time: the most of the network of which two epochs fit.

    Args:
        depths: that may be chosen, in any order.
        usual_epochs: those of stage thaw without a budget.
        seconds: for stage thaw with what comes once before it.
    """
    fewest = min(FEWEST_EPOCHS, usual_epochs)
    for timed in sorted(depths, key=lambda timed: timed.depth.boundary):
        if epochs_within(timed, usual_epochs, seconds) >= fewest:
            return plan_within(timed, usual_epochs, seconds)
    return Plan(WHOLE, 0, 0.0)


def smaller_sides(side: int, smallest: int) -> list[int]:
    """Return the sides of pictures that may be tried below one, in pixels, the largest first.

    Each halves the network's strides evenly, as multiples of 32 do. The network was pretrained at its own side: at 70 %
    of it accuracy is a little lower (clothing photos, EfficientNet-Lite0, one seed: 0.89 at 224 pixels, 0.87 at 160).
    """
    least = max(smallest, _SMALLEST_SIDE * side)
    return [each for each in range((side - 1) // 32 * 32, 0, -32) if each >= least]


def plan_at_side(
    share: float, depths: Sequence[TimedDepth], usual_epochs: int, seconds: float, extraction: float
) -> Plan:
    """Return the plan for pictures of another side, if time grows with their area.

    Args:
        share: the side, as a share of that at which the depths were timed.
        depths: that may be chosen.
        usual_epochs: those of stage thaw without a budget.
        seconds: for features and stage thaw.
        extraction: seconds of the features at the side of the depths.
    """
    scaled = [replace(timed, epoch_seconds=timed.epoch_seconds * share**2) for timed in depths]
    return choose_plan(scaled, usual_epochs, seconds - extraction * share**2)


def plan_within(timed: TimedDepth, usual_epochs: int, seconds: float) -> Plan:
    """Return the plan for a boundary that was chosen before: the epochs that fit, none if those are too few now."""
    epochs = epochs_within(timed, usual_epochs, seconds)
    if epochs < min(FEWEST_EPOCHS, usual_epochs):
        return Plan(WHOLE, 0, 0.0)
    return Plan(timed.depth.block, epochs, epochs * timed.epoch_seconds)


def epochs_within(timed: TimedDepth, usual_epochs: int, seconds: float) -> int:
    """Return how many epochs fit into a time with what comes once before them, up to twice the usual ones."""
    for_epochs = max(0.0, seconds - timed.starting_seconds)
    return min(math.floor(_MOST * usual_epochs), math.floor(for_epochs / timed.epoch_seconds))


def more_time_sentence(plan: Plan, depths: Sequence[TimedDepth], usual_epochs: int, spent: float) -> str:
    """Return whether a larger budget would change the plan, and to what.

    Args:
        plan: that was trained.
        depths: as `choose_plan` had them.
        usual_epochs: as `choose_plan` had them.
        spent: seconds of the budget before and after stage thaw, without what comes once in it.
    """
    if not depths:
        return "more time: no part of this network may be thawed for pictures of this size"
    deepest = min(depths, key=lambda timed: timed.depth.boundary)
    most = math.floor(_MOST * usual_epochs)
    if plan.freeze == deepest.depth.block and plan.epochs >= most:
        return f"more time: would train no longer, {plan.epochs} epochs behind {plan.freeze} are the most"
    wanted = most if plan.freeze == deepest.depth.block else usual_epochs
    needed = (spent + deepest.starting_seconds + wanted * deepest.epoch_seconds) / SPARE
    minutes = math.ceil(needed / 60)
    return (
        f"more time: budget={minutes}m would train {wanted} epochs behind {deepest.depth.block} "
        f"({short_seconds(deepest.epoch_seconds)} each)"
    )

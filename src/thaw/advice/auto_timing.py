"""recipe=auto's measurements: what an epoch behind each boundary takes on this machine, and what else takes time."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from thaw.advice import auto_plan
from thaw.advice.auto_plan import TimedDepth
from thaw.advice.depths import WHOLE, candidate_depths, may_be_thawed_behind
from thaw.common.console import progress, say
from thaw.common.durations import short_seconds
from thaw.config.schema import AUTO_RATE
from thaw.extract import prepared_run
from thaw.extract.prepared_run import PreparedNetwork
from thaw.models import backbone_table
from thaw.training import rate_choice, recipes

if TYPE_CHECKING:
    from thaw.advice.depth_figures import TimedEpoch

# An image forward through the whole frozen network, as a share of one in training behind the last boundary: measured
# with EfficientNet-Lite0 at 224 px. It decides on nothing but the boundary; epochs are chosen once features are kept.
_FORWARD_SHARE = 0.95
_FORWARD_OF_TRAINING = 1 / 3  # of a step: forward, gradients of activations, gradients of weights
_DEEPER = 1.5  # what a boundary costs at least, as a multiple of the next one behind it
_MARGIN = 1.05  # timed steps fetch no pictures: idle, on two cores of a Xeon, epochs take 0.97 to 1.07 of the estimate
_PREPARING = 8.0  # seconds in which data and network are prepared once more, for another size of input


def timed_depths(prepared: PreparedNetwork, seconds: float, only: str = "") -> list[TimedDepth]:
    """Return the boundaries that may be chosen with what an epoch behind them takes, the deepest thawing first.

    Timing begins with what thaws least, and ends with what cannot fit into `seconds`: each takes some of them.

    Args:
        prepared: the network and its data.
        seconds: for features and training.
        only: the boundary's block, where others are not to be timed.
    """
    from thaw.advice.depth_figures import timed_epoch

    network, images = prepared.network, images_by_split(prepared)
    with_validation = 1 + _FORWARD_OF_TRAINING * images["val"] / images["train"]
    depths = [
        depth
        for depth in candidate_depths(network.backbone.graph)
        if may_be_thawed_behind(depth, network.backbone.image_size) and only in ("", depth.block)
    ]
    timed: list[TimedDepth] = []
    frozen = extraction = 0.0  # seconds in the frozen layers: of an epoch, and of all images
    with progress("timing steps", len(depths)) as bar:
        for depth in reversed(depths):
            if timed and auto_plan.FEWEST_EPOCHS * _DEEPER * timed[0].epoch_seconds > seconds - extraction:
                break
            epoch = timed_epoch(prepared, depth)
            if epoch is not None:
                measured = epoch.seconds
                if not timed:
                    extraction = _FORWARD_SHARE * measured * sum(images.values()) / images["train"]
                if not timed and recipes.runs_images_every_epoch(prepared.config):  # augmented anew
                    frozen = _FORWARD_SHARE * measured
                range_test = _range_test_seconds(prepared, epoch)
                seconds_of_one = measured * _MARGIN * with_validation + frozen
                timed.insert(0, TimedDepth(depth, seconds_of_one, epoch.tracing_seconds, range_test))
            bar.advance()
    for each in timed:
        say(f"  thawed behind {each.depth.block}: {short_seconds(each.epoch_seconds)} an epoch")
    return timed


def _range_test_seconds(prepared: PreparedNetwork, epoch: TimedEpoch) -> float:
    """Return about the seconds of a range test, where the rate is to be found: it traces functions of its own."""
    config, images = prepared.config, images_by_split(prepared)["train"]
    if config.optimizer.learning_rate != AUTO_RATE:
        return 0.0
    steps = -(-images // config.train.batch_size)
    of_steps = len(rate_choice.RATES) * (1 + 2 * _FORWARD_OF_TRAINING) * epoch.seconds / steps
    return _MARGIN * of_steps + 2 * epoch.tracing_seconds


def at_smaller_side(
    prepared: PreparedNetwork, depths: list[TimedDepth], usual_epochs: int, seconds: float
) -> tuple[PreparedNetwork, list[TimedDepth]]:
    """Return the network for smaller pictures, where of these two epochs fit, and its boundary; else what was given.

    Args:
        prepared: the network at its usual side, at which nothing fits.
        depths: timed there.
        usual_epochs: those of stage thaw without a budget.
        seconds: for features and training.
    """
    side = prepared.network.backbone.image_size
    smallest = backbone_table.backbone_spec(prepared.network.backbone.name).min_size
    extraction, started = seconds_around(prepared, depths)[1], time.monotonic()
    for smaller in auto_plan.smaller_sides(side, smallest):
        left = seconds - (time.monotonic() - started)
        plan = auto_plan.plan_at_side(smaller / side, depths, usual_epochs, left - _PREPARING, extraction)
        if plan.freeze == WHOLE:
            continue
        backbone = dataclasses.replace(prepared.config.backbone, image_size=smaller)
        config = dataclasses.replace(prepared.config, backbone=backbone)
        network = prepared_run.prepare_network(config, tell_data=False)
        timed = timed_depths(network, left, plan.freeze)
        left = seconds - (time.monotonic() - started) - seconds_around(network, timed)[1]
        if auto_plan.choose_plan(timed, usual_epochs, auto_plan.SPARE * left).freeze != WHOLE:
            return network, timed
    return prepared, depths


def forward_seconds(depths: list[TimedDepth]) -> float:
    """Return the seconds in which as many images as those of training are computed forward."""
    return depths[-1].epoch_seconds * _FORWARD_SHARE


def seconds_around(prepared: PreparedNetwork, depths: list[TimedDepth]) -> tuple[float, float]:
    """Return the seconds that predicting validation and test takes, and computing the features before training."""
    if not depths:
        return 0.0, 0.0
    images = images_by_split(prepared)
    evaluated = (images["val"] + images["test"]) / images["train"]  # in epochs
    evaluation = depths[0].epoch_seconds * _FORWARD_OF_TRAINING * evaluated
    extraction = forward_seconds(depths) * sum(images.values()) / images["train"]
    return evaluation, extraction


def images_by_split(prepared: PreparedNetwork) -> dict[str, int]:
    """Return how many images each split has."""
    return {split: len(rows) for split, rows in prepared.data.splits.by_name().items()}

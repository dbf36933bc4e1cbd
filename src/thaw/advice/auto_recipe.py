"""recipe=auto: measures what this machine does with a network and a data set, and chooses what fits the budget."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thaw.advice import auto_plan, learning_curve
from thaw.advice.auto_plan import Plan, TimedDepth
from thaw.advice.auto_timing import (
    at_smaller_side,
    forward_seconds,
    images_by_split,
    seconds_around,
    timed_depths,
)
from thaw.advice.depths import WHOLE, NetworkFigures, transfer_scores
from thaw.advice.learning_curve import CurvePoint
from thaw.common.console import progress, say
from thaw.common.errors import UserError
from thaw.config.schema import Config
from thaw.extract import prepared_run
from thaw.extract.prepared_run import PreparedNetwork, PreparedRun
from thaw.extract.run_extraction import extract_stages
from thaw.training import logistic_regression, recipes

if TYPE_CHECKING:  # TensorFlow is imported when the data has been read
    from thaw.models.network import Network

# Networks that are compared where none was asked for, and what an image costs in them as a multiple of the first:
# multiply-adds at their own sizes, from the models' page. Their weights come with thaw.
_COMPARED = {"efficientnet_lite0": {"efficientnet_lite1": 631 / 407, "efficientnet_lite2": 899 / 407}}
_PROBING_SHARE = 0.15  # of the budget, for comparing networks
# Seconds in which the run begins with what is in memory or the cache by then. On top come those that are measured: it
# solves for the head once more, and the first step of stage thaw traces the function.
_STARTING = 4.0
_SOLVING = 10.0  # until that has been measured
# For evaluation's conversion, the parity check, saving and the report, on two cores; and with a short report, which a
# small budget gets.
_LAST_SECONDS, _LAST_SECONDS_SHORT, _SMALL_BUDGET = 30.0, 8.0, 300.0


@dataclass(frozen=True)
class AutoChoice:
    """What recipe=auto chose.

    overrides: arguments of a run that trains it. record: what was tried and why, as `auto.json` has it; its `lines` are
    what the run prints at its end. deadline: of `time.monotonic`, at which training has to end. tracing_seconds: that
    the first epoch takes longer than others.
    """

    overrides: list[str]
    record: dict[str, Any]
    deadline: float
    tracing_seconds: float = 0.0


class _Budget:
    """Seconds that are left of a budget."""

    def __init__(self, seconds: float, started: float, report: str) -> None:
        self.seconds, self._started = seconds, started
        self.short_report = report != "full" or seconds < _SMALL_BUDGET
        self._last_seconds = _LAST_SECONDS_SHORT if self.short_report else _LAST_SECONDS
        self.evaluation = 0.0  # seconds of predicting validation and test images
        self.solving = _SOLVING

    @property
    def spent(self) -> float:
        return time.monotonic() - self._started

    def left(self) -> float:
        """Return what is left for features and stage thaw."""
        return self.seconds - self.around()

    def around(self) -> float:
        """Return what is spent, and what comes before and after stage thaw besides features."""
        return self.spent + _STARTING + self.solving + self.evaluation + self._last_seconds

    def deadline(self) -> float:
        return self._started + self.seconds - self.evaluation - self._last_seconds


def choose_recipe(config: Config, seconds: float, started: float, *, compare_networks: bool) -> AutoChoice:
    """Measure, keep the features that the run will need, and choose what it trains.

    Args:
        config: of recipe=auto.
        seconds: the budget of the whole command.
        started: when it began, of `time.monotonic`.
        compare_networks: whether another network than the config's may be chosen; those compared are of its family.

    Raises:
        UserError: as the run would, and for a backbone with random weights.
    """
    if config.backbone.weights == "none":
        raise UserError(
            "recipe=auto thaws a pretrained network, and backbone.weights=none has random weights: use imagenet, or "
            "recipe=scratch"
        )
    _check_warmup(config)
    budget = _Budget(seconds, started, config.report)
    say(f"recipe=auto: {seconds:.0f} s in all, on this machine")
    before = budget.spent
    prepared = prepared_run.prepare_network(_finetune(config))
    depths = timed_depths(prepared, budget.left())
    networks: list[NetworkFigures] = []
    probing = _probing_seconds(prepared, depths, budget.spent - before) if compare_networks else None
    if probing and probing <= _PROBING_SHARE * seconds:
        prepared, depths, networks = _compared(prepared, depths, budget)
    usual, at_full_side = recipes.thaw_epochs(prepared.config, images_by_split(prepared)["train"]), depths
    other_sides = config.backbone.image_size is None
    prepared, depths, plan = _plan_before_features(prepared, depths, usual, budget, other_sides=other_sides)
    run = _keep_features(prepared, plan)
    curve = _timed_curve(run, budget)
    if plan.freeze == WHOLE and curve:  # solving may have taken far less than was set aside
        plan = auto_plan.choose_plan(depths, usual, budget.left() - seconds_around(prepared, depths)[1])
        run = run if plan.freeze == WHOLE else _keep_features(prepared, plan)
    timed = next((each for each in depths if each.depth.block == plan.freeze), None)
    if timed is not None:
        budget.evaluation = seconds_around(prepared, [timed])[0]  # less of the network is computed
        plan = auto_plan.plan_within(timed, usual, budget.left())
    say(f"chosen: {_in_words(plan, run.network)}")
    record = _record(run, plan, depths, networks, curve)
    record |= {"budget_seconds": seconds, "seconds_before_training": budget.spent, "usual_epochs": usual}
    record["lines"] = [learning_curve.more_data_sentence(curve, len(run.data.splits.val))] if curve else []
    record["lines"].append(_backbone_sentence(networks, prepared.config.backbone.name, probing))
    record["lines"].append(auto_plan.more_time_sentence(plan, at_full_side, usual, budget.around()))
    overrides = _overrides(run, config, plan, smaller=depths is not at_full_side)
    if config.report == "full" and budget.short_report:
        overrides.append("report=short")
    return AutoChoice(overrides, record, budget.deadline(), timed.tracing_seconds if timed else 0.0)


def _plan_before_features(
    prepared: PreparedNetwork, depths: list[TimedDepth], usual: int, budget: _Budget, *, other_sides: bool
) -> tuple[PreparedNetwork, list[TimedDepth], Plan]:
    """Return the plan by what features are expected to take, with its network and boundaries.

    other_sides: whether smaller pictures may be tried where nothing fits.
    """
    budget.evaluation, extraction = seconds_around(prepared, depths)
    plan = auto_plan.choose_plan(depths, usual, auto_plan.SPARE * (budget.left() - extraction))
    if plan.freeze == WHOLE and depths and other_sides:
        prepared, depths = at_smaller_side(prepared, depths, usual, budget.left())
        plan = auto_plan.choose_plan(depths, usual, budget.left() - seconds_around(prepared, depths)[1])
    return prepared, depths, plan


def _timed_curve(run: PreparedRun, budget: _Budget) -> list[CurvePoint]:
    """Return the learning curve, and set what solving for the head will take in the run by what it took here."""
    before = budget.spent
    curve = _curve(run)
    if curve:  # the run solves for the whole share alone
        budget.solving = (budget.spent - before) / sum(learning_curve.SHARES)
    return curve


def _check_warmup(config: Config) -> None:
    if (warmup := config.optimizer.warmup_epochs or 0.0) >= 1:
        raise UserError(
            f"optimizer.warmup_epochs={warmup:g} may be longer than what recipe=auto has time for: set less than 1, or "
            "recipe=finetune with finetune.epochs"
        )


def _finetune(config: Config) -> Config:
    return dataclasses.replace(config, recipe="finetune", budget=None)


def _probing_seconds(prepared: PreparedNetwork, depths: list[TimedDepth], preparing: float) -> float:
    """Return the seconds in which networks would be compared; 0 if there is none to compare with.

    preparing: the seconds in which the given network was built and timed, as each other one will be.
    """
    others = _COMPARED.get(prepared.config.backbone.name, {}) if depths else {}
    multiple = sum(others.values())
    return forward_seconds(depths) * (1 + multiple) + preparing * multiple if others else 0.0


def _compared(
    prepared: PreparedNetwork, depths: list[TimedDepth], budget: _Budget
) -> tuple[PreparedNetwork, list[TimedDepth], list[NetworkFigures]]:
    """Return the network that ranks first of those of which a few epochs fit, its depths, and all compared."""
    from thaw.advice.depth_figures import network_figures

    found = [(prepared, depths, network_figures(prepared))]
    for other in _COMPARED[prepared.config.backbone.name]:
        backbone = dataclasses.replace(prepared.config.backbone, name=other, image_size=None, freeze="all")
        config = dataclasses.replace(prepared.config, backbone=backbone)
        config = dataclasses.replace(config, finetune=dataclasses.replace(config.finetune, freeze="all"))
        network = prepared_run.prepare_network(config, tell_data=False)
        found.append((network, timed_depths(network, budget.seconds), network_figures(network)))
    for _, _, figures in found:
        accuracy, imagenet = figures.features.accuracy or 0, figures.imagenet or 0
        say(f"  {figures.backbone}: accuracy {accuracy:.3f} with frozen features, {imagenet:.3f} on ImageNet")

    def fits(timed: list[TimedDepth]) -> bool:
        left = budget.left()
        return bool(timed) and (auto_plan.FEWEST_EPOCHS + 1) * timed[0].epoch_seconds <= left

    eligible = [each for each in found if fits(each[1])] or found[:1]
    scores = transfer_scores([figures for _, _, figures in eligible])
    best = eligible[scores.index(max(scores))]
    return best[0], best[1], [figures for _, _, figures in found]


def _keep_features(prepared: PreparedNetwork, plan: Plan) -> PreparedRun:
    """Compute what the run will read from the cache; return its stages."""
    config = prepared.config
    if plan.freeze == WHOLE:
        config = dataclasses.replace(config, recipe="bottleneck")
    else:
        finetune = dataclasses.replace(config.finetune, freeze=plan.freeze, epochs=plan.epochs)
        config = dataclasses.replace(config, finetune=finetune)
    run = prepared_run.plan_run(dataclasses.replace(prepared, config=config))
    extract_stages(run)
    return run


def _curve(run: PreparedRun) -> list[CurvePoint]:
    """Return the learning curve of the features that the first stage keeps; empty where it keeps none."""
    from thaw.models.network import cut_at, mean_over_positions
    from thaw.training.stage_batches import BatchSource

    head, data, network = run.planned[0], run.data, run.network
    if not head.plan.all_frozen or head.cut.index != head.plan.total_layers:
        return []
    source = BatchSource(head, cut_at(network, head.cut.index), network, data, run.inputs)
    if not {"train", "val"} <= source.cached.keys():
        return []
    splits = data.splits.by_name()
    features = {
        split: mean_over_positions(network, source.cached[split][0].take(splits[split])[0])
        for split in ("train", "val")
    }
    labels = {split: data.labels(split) for split in features}
    with progress("learning curve", len(learning_curve.SHARES) * logistic_regression.fits()) as bar:
        return learning_curve.learning_curve(features, labels, len(data.class_names), data.seed, bar.advance)


def _record(
    run: PreparedRun, plan: Plan, depths: list[TimedDepth], networks: list[NetworkFigures], curve: list[CurvePoint]
) -> dict[str, Any]:
    """Return what was measured and chosen, as `auto.json` has it."""
    return {
        "depths": [{"freeze": each.depth.block, "epoch_seconds": each.epoch_seconds} for each in depths],
        "image_size": run.network.backbone.image_size,
        "networks": [
            {
                "backbone": each.backbone,
                "image_size": each.image_size,
                "accuracy": each.features.accuracy,
                "imagenet": each.imagenet,
            }
            for each in networks
        ],
        "plan": dataclasses.asdict(plan),
        "learning_curve": [dataclasses.asdict(point) for point in curve],
    }


def _in_words(plan: Plan, network: Network) -> str:
    name, side = network.backbone.name, network.backbone.image_size
    if plan.freeze == WHOLE:
        return f"{name} at {side} px stays frozen, as no two epochs of a thawed part fit"
    return f"{name} at {side} px, thawed behind {plan.freeze} for {plan.epochs} epochs, {plan.seconds:.0f} s"


def _backbone_sentence(networks: list[NetworkFigures], name: str, probing: float | None) -> str:
    """Return what the run says at its end of other networks.

    probing: as `_probing_seconds` returned; None where the command chose the network.
    """
    if networks:
        accuracies = ", ".join(f"{each.backbone} {each.features.accuracy or 0:.3f}" for each in networks)
        return f"another backbone: accuracy with frozen features is {accuracies}"
    if probing is None:
        return f"another backbone: none was compared, as the command chooses {name}"
    if not probing:
        return "another backbone: none was compared"
    minutes = math.ceil(probing / _PROBING_SHARE / auto_plan.SPARE / 60)
    return f"another backbone: none was compared; budget={minutes}m would compare {', '.join(_COMPARED[name])}"


def _overrides(run: PreparedRun, asked: Config, plan: Plan, *, smaller: bool) -> list[str]:
    """Return the arguments that train the plan, besides those of the command line."""
    chosen, arguments = run.network.backbone, []
    if chosen.name != asked.backbone.name:
        arguments.append(f"backbone={chosen.name}")
    if smaller:
        arguments.append(f"backbone.image_size={chosen.image_size}")
    if plan.freeze == WHOLE:
        return [*arguments, "recipe=bottleneck"]
    return [*arguments, "recipe=finetune", f"finetune.freeze={plan.freeze}", f"finetune.epochs={plan.epochs}"]

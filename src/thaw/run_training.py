"""Trains a run's stages, from the first or from its newest checkpoint, and logs them as they train."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thaw import run_record
from thaw.common.console import say
from thaw.data.dataset import Dataset
from thaw.frozen.engine import EngineChoice
from thaw.run_context import RunContext
from thaw.tracking import TrackedRun
from thaw.training import recipes
from thaw.training.checkpoint import Checkpoint
from thaw.training.recipes import TrainingStage
from thaw.training.stage_result import StageResult

if TYPE_CHECKING:  # TensorFlow is imported when the data has been read
    from thaw.models.freeze import FreezePlan
    from thaw.models.network import Network
    from thaw.training.stages import PlannedStage


def train_stages(context: RunContext, engine: EngineChoice, network: Network, data: Dataset) -> list[StageResult]:
    """Plan all stages, print the plan, and train those that a checkpoint does not hold; return the results of all."""
    from thaw.training.stage_checkpoint import StageCheckpointer, checkpointed_variables, restore_weights
    from thaw.training.stages import StageInputs, plan_stages, run_stage

    config, tracked, clock = context.config, context.tracked, context.clock
    inputs = StageInputs(engine, context.cache, config.cache.views, config.backbone, config.train, config.head)
    cuts = context.job.cuts or run_record.stored_cuts(tracked.resumed_tags)
    planned = plan_stages(recipes.plan_recipe(config), network, data, inputs, cuts)
    run_record.log_entry(tracked, run_record.CUTS, " ".join(str(entry.cut.index) for entry in planned))
    for line in (line for entry in planned for line in entry.summary_lines(inputs, data.augmented)):
        say(line)
    checkpoint = context.checkpoints.load_newest()
    results = _finished_stages(checkpoint, planned, tracked) if checkpoint else []
    clock.started -= checkpoint.state["elapsed"] if checkpoint else 0.0  # what was done before counts
    for i, entry in list(enumerate(planned))[len(results) :]:
        entry = dataclasses.replace(entry, stage=_after(entry.stage, results))
        logger = StageLogger(tracked, entry.stage, entry.plan)
        say(f"stage {entry.stage.name} · {entry.stage.optimizer.name} {entry.stage.optimizer.learning_rate:g}")
        weights = checkpointed_variables(network, [before.plan for before in planned[: i + 1]])
        if checkpoint:
            restore_weights(weights, checkpoint)
        states = [result.to_state() for result in results]
        result = run_stage(
            entry,
            network,
            data,
            inputs,
            checkpointer=StageCheckpointer(
                context.checkpoints, config.checkpoint, i, weights, states, checkpoint, clock.total
            ),
            predict_splits=("val", "test") if i == len(planned) - 1 else (),
            on_start=logger.log_start,
            on_epoch=logger.log_epoch,
        )
        checkpoint = None  # later stages begin
        results.append(result)
    for result in results:
        clock.seconds["extract"] += result.extract_seconds
        clock.seconds["train"] += result.fit.seconds
        clock.seconds["evaluate"] += result.judge_seconds
    return results


@dataclasses.dataclass(frozen=True)
class StageLogger:
    """Logs one stage to the store and the terminal while it trains."""

    tracked: TrackedRun
    stage: TrainingStage
    plan: FreezePlan

    def log_start(self, trainable_params: int) -> None:
        """Log what the stage is about to do, so that one that fails has said so."""
        tag = f"thaw.stage.{self.stage.number}"
        self.tracked.set_tags({"thaw.stage": self.stage.name, tag: self.stage.name, f"{tag}.plan": self.plan.summary()})
        self.tracked.log_metrics({"stage/trainable_params": trainable_params}, step=self.stage.first_epoch + 1)

    def log_epoch(self, entry: Mapping[str, Any]) -> None:
        """Log and print an entry of the history."""
        _log_epoch_metrics(self.tracked, entry, self.stage.number)
        say(
            f"  {entry['stage']} epoch {entry['epoch']} · loss {entry['loss']:.4f} accuracy {entry['accuracy']:.4f} · "
            f"val loss {entry['val_loss']:.4f} accuracy {entry['val_accuracy']:.4f} · "
            f"lr {entry['learning_rate']:.3g} · {entry['images_per_second']:.0f} images/s"
        )


def _log_epoch_metrics(tracked: TrackedRun, entry: Mapping[str, Any], stage: int) -> None:
    metrics = {f"epoch/{key}": value for key, value in entry.items() if key not in ("stage", "epoch")}
    tracked.log_metrics({**metrics, "epoch/stage": stage}, step=entry["epoch"])


def _after(stage: TrainingStage, results: list[StageResult]) -> TrainingStage:
    """The stage on the axis of epochs that were done, not planned: early stopping leaves no hole in it."""
    return dataclasses.replace(stage, first_epoch=sum(len(result.fit.history) for result in results))


def _finished_stages(checkpoint: Checkpoint, planned: list[PlannedStage], tracked: TrackedRun) -> list[StageResult]:
    """The stages that were finished when the checkpoint was written; their epochs are logged if they were not yet."""
    results: list[StageResult] = []
    for entry, state in zip(planned, checkpoint.state["done"], strict=False):
        entry = dataclasses.replace(entry, stage=_after(entry.stage, results))
        results.append(StageResult.from_state(entry, state))
    progress, stage = checkpoint.progress, planned[checkpoint.progress.stage].stage
    say(f"resumed: stage {stage.name}, after {progress.epoch} of {stage.epochs} epochs and {progress.step} steps")
    for result in results:
        for epoch in result.fit.history:
            _log_epoch_metrics(tracked, epoch, result.stage.number)
    for epoch in checkpoint.state.get("history", ()):
        _log_epoch_metrics(tracked, epoch, stage.number)
    return results

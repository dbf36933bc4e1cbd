"""Trains a run's stages, from the first or from its newest checkpoint, and logs them as they train."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thaw import run_fingerprint
from thaw.common.console import say
from thaw.config.job import Job
from thaw.data import manifest
from thaw.data.dataset import Dataset
from thaw.frozen.engine import EngineChoice
from thaw.frozen.quantization import run_calibration
from thaw.run_context import RunContext
from thaw.tracking import TrackedRun
from thaw.training import head_snapshot, recipes
from thaw.training.checkpoint import Checkpoint
from thaw.training.recipes import TrainingStage
from thaw.training.stage_end import StageEnd, stage_epochs, stage_epochs_tag
from thaw.training.stage_result import StageResult

if TYPE_CHECKING:  # TensorFlow is imported when the data has been read
    from thaw.models.network import Network
    from thaw.training.stage_plans import PlannedStage, StageInputs


def train_stages(context: RunContext, choice: EngineChoice, network: Network, data: Dataset) -> list[StageResult]:
    """Plan all stages, print the plan, and train those that no checkpoint holds; return the results of all."""
    from thaw.training import resume_state
    from thaw.training.checkpoint_callback import StageCheckpointer
    from thaw.training.head_fallback import HeadFallback
    from thaw.training.stages import run_stage

    config, tracked, clock = context.config, context.tracked, context.clock
    planned, inputs = _plan(context, choice, network, data)
    head, last = head_snapshot.head_stage(planned), len(planned) - 1
    sample = head_snapshot.sample_rows(data.labels("test"))
    balanced = "balanced" in (config.train.class_weight, config.train.sampling)
    falls_back = config.finetune.fallback and head is not None
    fallback = HeadFallback(network, planned, by_class=balanced) if falls_back else None
    sha256 = "" if head is None else manifest.data_sha256(data.pixels, data.splits)
    results: list[StageResult] = []
    checkpoint = context.checkpoints.load_newest()
    if checkpoint:
        results = resume_state.finished_stages(checkpoint, planned)
        clock.started -= checkpoint.state["elapsed"]
        _log_resumed(tracked, checkpoint, planned, results)
    for number in range(len(results), len(planned)):
        stage = planned[number].after(results)
        say(f"stage {stage.stage.name} · {stage.stage.method}")
        checkpointer = StageCheckpointer(
            context.checkpoints,
            config.checkpoint,
            number,
            resume_state.checkpointed_variables(network, planned[: number + 1]),
            finished=[result.to_state() for result in results],
            elapsed=clock.total,
            resume_from=checkpoint,
        )
        checkpoint = None  # later stages begin
        logger = _logger(context, stage, number)
        result = run_stage(
            stage,
            network,
            data,
            inputs,
            checkpointer=checkpointer,
            predict_splits=("val", "test") if number in (head, last) else (),
            on_start=logger.log_start,
            on_epoch=logger.log_epoch,
            on_found_rate=logger.log_found_rate,
            sample=data.splits.test[sample] if number in (head, last) else None,
        )
        if number == head:  # before the next stage's first checkpoint, behind which this one is not trained again
            values = [] if fallback is None else fallback.head_values()
            head_snapshot.save_head_alone(context.folder, tracked.id, sha256, result, sample, values)
        results.append(result)
    if fallback is not None:
        results = fallback.applied(results, context.folder, tracked.id, data, inputs, sha256)
    for result in results:
        clock.seconds["extract"] += result.extract_seconds
        clock.seconds["train"] += result.fit.seconds
        clock.seconds["evaluate"] += result.judge_seconds
    return results


def _plan(
    context: RunContext, choice: EngineChoice, network: Network, data: Dataset
) -> tuple[list[PlannedStage], StageInputs]:
    """Return all stages and what they share; print the plan, and log what a resumed run has to keep."""
    from thaw.training.stage_plans import StageInputs, plan_stages

    config, tracked = context.config, context.tracked
    calibration = run_calibration(choice, data.pixels, data.splits.train)
    if calibration:
        sha256 = calibration.sha256
        run_fingerprint.check_same_hash(tracked, run_fingerprint.CALIBRATION_SHA256, sha256, "the calibration images")
        run_fingerprint.log_entry(tracked, run_fingerprint.CALIBRATION_SHA256, sha256)
    inputs = StageInputs(
        choice, context.cache, config.cache.views, config.backbone, config.train, config.head, calibration
    )
    fixed_cuts = context.job.cuts or run_fingerprint.stored_cuts(tracked.resumed_tags)
    resumed = context.job.resumed_run_id is not None
    chained = run_fingerprint.has_chained_cuts(tracked.resumed_tags) if resumed else context.job.chained_cuts
    planned = plan_stages(
        recipes.plan_recipe(config, len(data.splits.train)), network, data, inputs, fixed_cuts, chained=chained
    )
    run_fingerprint.log_entry(tracked, run_fingerprint.CUTS, " ".join(str(stage.cut.index) for stage in planned))
    for line in (line for stage in planned for line in stage.summary_lines(inputs, data)):
        say(line)
    return planned, inputs


def _logger(context: RunContext, stage: PlannedStage, number: int) -> StageLogger:
    """Return what logs a stage, and ends it where the run that is repeated ended it, or as the time is up."""
    ended_after = {**stage_epochs(context.tracked.resumed_tags), **context.job.stage_epochs}
    end = StageEnd(context.job.deadline, ended_after.get(number), context.job.tracing_seconds)
    return StageLogger(context.tracked, stage, context.job, end)


@dataclass(frozen=True)
class StageLogger:
    """Logs one stage to the store and the terminal while it trains."""

    tracked: TrackedRun
    planned: PlannedStage
    job: Job
    end: StageEnd

    def log_start(self, trainable_params: int) -> None:
        """Log what the stage is about to do, so that one that fails has said so."""
        stage, tag = self.planned.stage, f"thaw.stage.{self.planned.stage.number}"
        self.tracked.set_tags({"thaw.stage": stage.name, tag: stage.name, f"{tag}.plan": self.planned.plan.summary()})
        self.tracked.log_metrics({"stage/trainable_params": trainable_params}, step=stage.first_epoch + 1)
        self.end.restart()

    def log_found_rate(self, rate: float) -> None:
        """Tag the rate that a range test found."""
        self.tracked.set_tags({f"thaw.stage.{self.planned.stage.number}.learning_rate": repr(rate)})
        self.end.restart()

    def log_epoch(self, entry: Mapping[str, Any]) -> bool:
        """Log and print an entry of the history; return whether the stage ends as the time is up."""
        _log_epoch_metrics(self.tracked, [entry], self.planned.stage)
        say(
            f"  {entry['stage']} epoch {entry['epoch']} · loss {entry['loss']:.4f} accuracy {entry['accuracy']:.4f} · "
            f"val loss {entry['val_loss']:.4f} accuracy {entry['val_accuracy']:.4f} · "
            f"lr {entry['learning_rate']:.3g} · {entry['images_per_second']:.0f} images/s"
        )
        if self.job.on_epoch:
            self.job.on_epoch({**entry, "epoch_of_stage": entry["epoch"] - self.planned.stage.first_epoch})
        done = entry["epoch"] - self.planned.stage.first_epoch
        if done == self.planned.stage.epochs or not self.end.is_now(done):
            return False
        self.tracked.set_tags({stage_epochs_tag(self.planned.stage.number): str(done)})
        say(f"  the time is up after {done} of {self.planned.stage.epochs} epochs")
        return True


def _log_epoch_metrics(tracked: TrackedRun, history: Iterable[Mapping[str, Any]], stage: TrainingStage) -> None:
    for entry in history:
        metrics = {f"epoch/{key}": value for key, value in entry.items() if key not in ("stage", "epoch")}
        tracked.log_metrics({**metrics, "epoch/stage": stage.number}, step=entry["epoch"])


def _log_resumed(
    tracked: TrackedRun, checkpoint: Checkpoint, planned: Sequence[PlannedStage], results: Sequence[StageResult]
) -> None:
    """Say where the run is resumed, and log the epochs that the store may lack: it drops what it has already."""
    progress, stage = checkpoint.progress, planned[checkpoint.progress.stage].stage
    say(f"resumed: stage {stage.name}, after {progress.epoch} of {stage.epochs} epochs and {progress.step} steps")
    for result in results:
        _log_epoch_metrics(tracked, result.fit.history, result.stage)
    _log_epoch_metrics(tracked, checkpoint.state.get("history", ()), stage)

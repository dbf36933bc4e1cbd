"""What came of a stage, and of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from thaw.data.dataset import Dataset
from thaw.frozen.engine import EngineChoice
from thaw.frozen.quantization import Calibration, run_calibration

if TYPE_CHECKING:  # results are read without TensorFlow
    from thaw.models.freeze import FreezePlan
    from thaw.models.network import Network
    from thaw.training.recipes import TrainingStage
    from thaw.training.stage_plans import PlannedStage


@dataclass(frozen=True)
class FitResult:
    """What a fit did.

    history: one dict an epoch: stage, epoch (1-based over the whole run), loss, accuracy, val_loss, val_accuracy,
    learning_rate, images_per_second. seconds: training and validation, without compilation of the graph.
    """

    history: list[dict[str, Any]]
    seconds: float


@dataclass(frozen=True)
class LeftOut:
    """Why the head alone was kept. head, thawed: what each has of the measure on validation images."""

    measure: str
    head: float
    thawed: float


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """A planned stage and what came of it.

    extract_seconds: of the frozen part, for activations that are cached; judge_seconds: of `probabilities`. hits,
    misses: rows that the cache had, and that were computed; cache_bytes: of all that the stage read from it. unmoved:
    thawed layers whose weights stayed the same. features_kept: all of the backbone was frozen, and its features are in
    the cache. probabilities: float32 (N, C) by split, under the stage's final weights. sampled_features: of some test
    images, float32 (n, D), where the whole backbone was frozen and they were asked for. left_out: set
    where the head alone was kept in place of what the stage trained.
    """

    planned: PlannedStage
    fit: FitResult
    trainable_params: int
    extract_seconds: float
    judge_seconds: float
    hits: int
    misses: int
    cache_bytes: int
    unmoved: list[str]
    features_kept: bool
    probabilities: dict[str, npt.NDArray[np.float32]]
    sampled_features: npt.NDArray[np.float32] | None = None
    left_out: LeftOut | None = None

    @property
    def stage(self) -> TrainingStage:
        """The stage as the recipe has it."""
        return self.planned.stage

    @property
    def plan(self) -> FreezePlan:
        """What was frozen in it."""
        return self.planned.plan

    def to_state(self) -> dict[str, Any]:
        """Return what a checkpoint remembers of a finished stage; the rest follows from the config."""
        saved = {"fit": asdict(self.fit), **{name: getattr(self, name) for name in _SAVED}}
        return saved | ({FOUND_RATE: self.stage.optimizer.learning_rate} if self.stage.rate_found else {})

    @classmethod
    def from_state(cls, planned: PlannedStage, state: Mapping[str, Any]) -> StageResult:
        """Return the result that `to_state` was called on, without probabilities and features."""
        saved = {name: state[name] for name in _SAVED}
        if FOUND_RATE in state:
            planned = replace(planned, stage=planned.stage.with_found_rate(state[FOUND_RATE]))
        return cls(planned=planned, fit=FitResult(**state["fit"]), probabilities={}, **saved)


# Keys of checkpoints: never renamed.
FOUND_RATE = "found_rate"
_SAVED = (
    "trainable_params", "extract_seconds", "judge_seconds", "hits", "misses", "cache_bytes", "unmoved", "features_kept",
)  # fmt: skip


@dataclass(frozen=True)
class TrainingOutcome:
    """A network after its last stage, with what it was trained by and on."""

    network: Network
    engine: EngineChoice
    data: Dataset
    stages: list[StageResult]

    @property
    def left_out(self) -> LeftOut | None:
        """Why the network is the head alone; None where it has what was trained last."""
        return self.stages[-1].left_out

    def history(self) -> list[dict[str, Any]]:
        """Return the entries of all epochs, in order."""
        return [entry for stage in self.stages for entry in stage.fit.history]

    def calibration(self) -> Calibration | None:
        """Return the images on which the frozen layers were quantised; None if they were not."""
        return run_calibration(self.engine, self.data.pixels, self.data.splits.train)

    def cuts(self) -> tuple[int, ...]:
        """Return the index of the layer behind which each stage was cut."""
        return tuple(stage.planned.cut.index for stage in self.stages)

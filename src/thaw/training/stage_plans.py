"""Plans the stages of a run before anything trains: what is frozen, where the network is cut, what is cached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from thaw.cache import RESERVED_BYTES, CacheBudget, DiskCache
from thaw.common.errors import UserError
from thaw.common.parallel import ShardWorkers
from thaw.config.schema import AugmentConfig, BackboneConfig, HeadConfig, TrainConfig
from thaw.data.dataset import Dataset
from thaw.frozen import conversion, cut_choice
from thaw.frozen.activation_rows import STORAGE_DTYPES
from thaw.frozen.cut_choice import CutChoice, StageWorkload
from thaw.frozen.engine import EngineChoice
from thaw.frozen.quantization import Calibration
from thaw.models import freeze
from thaw.models.freeze import FreezePlan
from thaw.models.network import Network, head_layers
from thaw.training.recipes import TrainingStage

if TYPE_CHECKING:
    from thaw.training.stage_result import StageResult


@dataclass(frozen=True)
class StageInputs:
    """What all stages of a run work with.

    choice: the engine and the precisions. cache: of activations. views: augmented views cached of an image; 0: images
    are augmented anew in every epoch. calibration: the images on which frozen layers are quantised; only in int8.
    workers: processes that compute what is cached; None: this one does.
    """

    choice: EngineChoice
    cache: DiskCache
    views: int
    backbone: BackboneConfig
    train_config: TrainConfig
    head: HeadConfig
    calibration: Calibration | None = None
    workers: ShardWorkers | None = None

    def cached_views(self, stage: TrainingStage) -> int:
        """Return how many views are cached of a training image: one for each epoch is enough."""
        return min(self.views, stage.epochs)


@dataclass(frozen=True)
class SourceCut:
    """A later stage's cut, from whose activations those of an earlier stage are computed.

    stored_views: how many augmented views of a training image are stored there; None: no activations are.
    """

    index: int
    stored_views: int | None


@dataclass(frozen=True)
class PlannedStage:
    """A stage, its freeze plan, and where its activations are cached.

    budget: the room that the cut was chosen for. sources: cuts of later stages that the stage's activations are
    computed through, the first one first.
    """

    stage: TrainingStage
    plan: FreezePlan
    cut: CutChoice
    workload: StageWorkload
    budget: CacheBudget
    sources: tuple[SourceCut, ...] = ()

    def after(self, results: Sequence[StageResult]) -> PlannedStage:
        """Return the stage with its epochs counted on from those that were run: early stopping leaves no gap."""
        epochs = sum(len(result.fit.history) for result in results)
        return replace(self, stage=replace(self.stage, first_epoch=epochs))

    def summary_lines(self, inputs: StageInputs, data: Dataset) -> list[str]:
        """Return the plan as it is printed before anything runs."""
        augmented = data_of_stage(self.stage, data).augmented
        budget = self.budget
        cached = cut_choice.cut_summary(
            self.cut, self.plan, self.workload, budget.nbytes, limited_by_disk=budget.limited_by_disk
        )
        if augmented and not inputs.views and self.plan.boundary:
            cached = (
                "training images are augmented anew in every epoch, so every epoch runs the frozen layers "
                "(cache.views=4 would keep 4 views of each)"
            )
            if self.cut.cached:
                cached += f"; of validation and test images, {cut_choice.format_bytes(self.cut.cached_bytes)} are kept"
        changed = "" if self.stage.solved else self._batch_changes(data.augment)
        return [f"stage {self.stage.name}: {self.plan.summary()}", *(f"  {line}" for line in (cached, changed) if line)]

    def _batch_changes(self, augment: AugmentConfig) -> str:
        """Return what is done to the stage's training batches where they enter what trains; empty if nothing is."""
        done = []
        has_positions = not self.plan.all_frozen  # pooled features have none
        if augment.place == "activations":
            if has_positions:
                done += ["mirrored"] * augment.flip
                done += [f"moved by up to {augment.shift:g} of their side"] * (augment.shift > 0)
                done += [f"cropped to {augment.crop:g} of their area or more"] * (augment.crop < 1)
                done += [f"erased in part, {augment.erase:g} of them"] * (augment.erase > 0)
            done += [f"given noise of {augment.noise:g} deviations"] * (augment.noise > 0)
        done += [f"mixed in pairs by Beta({augment.mixup:g}, {augment.mixup:g})"] * (augment.mixup > 0)
        cut = augment.cutmix > 0 and has_positions
        done += [f"cut and mixed in pairs by Beta({augment.cutmix:g}, {augment.cutmix:g})"] * cut
        what = "activations" if self.cut.index else "images"
        return f"training {what} are {', '.join(done)} anew in every epoch" if done else ""


def data_of_stage(stage: TrainingStage, data: Dataset) -> Dataset:
    """Return the data as a stage sees it: a head that is solved for gets each training image once, as it is."""
    return replace(data, augment=AugmentConfig()) if stage.solved else data


def plan_stages(
    stages: Sequence[TrainingStage],
    network: Network,
    data: Dataset,
    inputs: StageInputs,
    fixed_cuts: Sequence[int] | None = None,
    *,
    chained: bool = True,
) -> list[PlannedStage]:
    """Make the plans of all stages before anything trains, so that a wrong request costs nothing.

    fixed_cuts: where each stage is cut, of a run that is resumed or reproduced; None: chosen by the cache's room.
    chained: whether activations are computed from those at later stages' cuts; always from the images in early runs.
    Raises UserError when a freeze request names no layer, or there are not as many cuts as stages.
    """
    graph, name = network.backbone.graph, network.backbone.name
    if fixed_cuts is not None and len(fixed_cuts) != len(stages):
        raise UserError(f"the run was planned in {len(fixed_cuts)} stages, and there are {len(stages)} now. Train anew")
    plans = [freeze.make_plan(stage.freeze, graph, name, stage.batchnorm, stage.freeze_key) for stage in stages]
    workloads = [_workload(stage, network, data_of_stage(stage, data), inputs) for stage in stages]
    budget = inputs.cache.budget(max(RESERVED_BYTES, _output_bytes(network, plans)))
    reserved = data.pixels.cache_bytes + _network_bytes(network, plans, inputs.choice, budget.nbytes)
    chosen = cut_choice.choose_cuts(plans, graph, workloads, budget.nbytes - reserved, fixed_cuts)
    planned = []
    for stage, plan, workload, cut in zip(stages, plans, workloads, chosen, strict=True):
        augmented = data_of_stage(stage, data).augmented
        if fixed_cuts is None and augmented and not inputs.views and cut.index < plan.boundary:
            # Training images are by far the most; they run to the boundary in every epoch.
            cut = cut_choice.choose_cut(plan, graph, workload, 0.0)
        planned.append(PlannedStage(stage, plan, cut, workload, budget))
    return _with_sources(planned, inputs) if chained else planned


def _with_sources(planned: Sequence[PlannedStage], inputs: StageInputs) -> list[PlannedStage]:
    """Return the stages with the cuts that their activations are computed through."""
    chains = cut_choice.chain_cuts([stage.plan.boundary for stage in planned], [stage.cut.index for stage in planned])
    cuts = [
        SourceCut(stage.cut.index, inputs.cached_views(stage.stage) if stage.cut.cached else None) for stage in planned
    ]
    return [
        replace(stage, sources=tuple(cuts[later] for later in chain))
        for stage, chain in zip(planned, chains, strict=True)
    ]


def _workload(stage: TrainingStage, network: Network, data: Dataset, inputs: StageInputs) -> StageWorkload:
    views = inputs.cached_views(stage)
    return StageWorkload(
        images=sum(len(data.views(split, views)) * len(indices) for split, indices in data.splits.by_name().items()),
        itemsize=STORAGE_DTYPES[inputs.choice.frozen].itemsize,
        feature_values=int(np.prod(network.pooled_features.shape[1:])),
        head_macs=sum(layer.count_params() for layer in head_layers(network)),
    )


def _network_bytes(network: Network, plans: Sequence[FreezePlan], choice: EngineChoice, budget: float) -> float:
    """Bytes of the cache that the converted frozen layers take; only OpenVINO's are kept."""
    frozen = network.backbone.layers[: max(plan.boundary for plan in plans)]
    params = sum(layer.count_params() for layer in frozen)
    return conversion.reserved_bytes(params, budget) if choice.engine == "openvino" and params else 0.0


def _output_bytes(network: Network, plans: Sequence[FreezePlan]) -> int:
    """Bytes that a run may write besides the cache: the network twice, and three checkpoints of what trains.

    A checkpoint holds weights, the best weights and two moments, float32 each.
    """
    trained = [*network.backbone.layers[min(plan.boundary for plan in plans) :], *head_layers(network)]
    return 4 * (2 * network.model.count_params() + 3 * 4 * sum(layer.count_params() for layer in trained))

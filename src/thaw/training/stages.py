"""Carries out one stage: applies the freeze plan, gets the activations, fits, proves the freeze, and judges."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.cache import RESERVED_BYTES, CacheBudget, CacheFull, DiskCache
from thaw.common.console import say
from thaw.common.errors import UserError
from thaw.config.schema import BackboneConfig, HeadConfig, TrainConfig
from thaw.data.dataset import Dataset
from thaw.frozen import cuts
from thaw.frozen.activations import (
    STORAGE_DTYPES,
    Activations,
    CachedBatches,
    FrozenPart,
    UncachedBatches,
    build_frozen_part,
    round_as_stored,
)
from thaw.frozen.batch_runner import BatchSequence, predict_probabilities
from thaw.frozen.cuts import CutChoice, StageWorkload
from thaw.frozen.engine import EngineChoice, InferenceFunction
from thaw.models import freeze
from thaw.models.freeze import FreezePlan
from thaw.models.network import HEAD_LAYERS, Network, NetworkParts, cut_at, divide_network
from thaw.models.precision import computing_in
from thaw.training.fit import fit
from thaw.training.recipes import TrainingStage
from thaw.training.stage_checkpoint import StageCheckpointer
from thaw.training.stage_result import StageResult


@dataclass(frozen=True)
class StageInputs:
    """What stages work with. store: the cache. views: augmented views kept of an image; 0: augmented anew."""

    choice: EngineChoice
    store: DiskCache
    views: int
    backbone: BackboneConfig
    train_config: TrainConfig
    head: HeadConfig


@dataclass(frozen=True)
class PlannedStage:
    """A stage, its freeze plan, and where its activations are kept. room: what that was chosen for."""

    stage: TrainingStage
    plan: FreezePlan
    cut: CutChoice
    storage: StageWorkload
    cache_room: CacheBudget
    later_cuts: tuple[int, ...] = ()  # cuts of later stages that are computed on the way to this one's, as `Cut.at`

    def summary_lines(self, means: StageInputs, augmented: bool) -> list[str]:
        """The plan as it is printed before anything runs."""
        kept = cuts.summary(
            self.cut, self.plan, self.storage, self.cache_room.nbytes, limited_by_disk=self.cache_room.limited_by_disk
        )
        if augmented and not means.views and self.plan.boundary:
            kept = (
                "training images are augmented anew in every epoch, so every epoch runs the frozen layers "
                "(cache.views=4 would keep 4 views of each)"
            )
            if self.cut.cached:
                kept += f"; of validation and test images, {cuts.format_bytes(self.cut.cached_bytes)} are kept"
        return [f"stage {self.stage.name}: {self.plan.summary()}", *([f"  {kept}"] if kept else [])]


def plan_stages(
    stages: list[TrainingStage],
    network: Network,
    data: Dataset,
    means: StageInputs,
    places: Sequence[int] | None = None,
) -> list[PlannedStage]:
    """Make every stage's plan before anything trains, so that a wrong request costs nothing.

    places: where each stage was cut (`Cut.at`), of a run that is resumed or done again.
    """
    backbone = network.backbone
    freezes = [freeze.make_plan(stage.freeze, backbone.graph, backbone.name, stage.batchnorm) for stage in stages]
    needs = [
        StageWorkload(
            images=sum(
                len(data.views(split, _views(means, stage))) * len(i) for split, i in data.splits.by_name().items()
            ),
            itemsize=STORAGE_DTYPES[means.choice.frozen].itemsize,
            feature_values=int(np.prod(network.pooled_features.shape[1:])),
            head_macs=sum(layer.count_params() for layer in _head(network)),
        )
        for stage in stages
    ]
    planned = []
    if places is not None and len(places) != len(stages):
        raise UserError(f"the run was planned in {len(places)} stages, and there are {len(stages)} now. Train anew")
    room = means.store.budget(max(RESERVED_BYTES, _beside(network, freezes)))
    chosen = cuts.choose_cuts(freezes, backbone.graph, needs, room.nbytes - data.pixels.cache_bytes, places)
    for stage, plan, need, cut in zip(stages, freezes, needs, chosen, strict=True):
        if places is None and data.augmented and not means.views and cut.index < plan.boundary:
            cut = cuts.choose_cut(
                plan, backbone.graph, need, 0.0
            )  # training images, which are the many, run to the boundary
        planned.append(PlannedStage(stage, plan, cut, need, room))
    return [replace(entry, later_cuts=_on_the_way(planned[i:], room.nbytes)) for i, entry in enumerate(planned)]


def _beside(network: Network, plans: list[FreezePlan]) -> int:
    """Bytes that a run may write besides the cache: the network twice, and three checkpoints of what trains.

    Each of them holds weights, the best weights and two moments.
    """
    trained = [*network.backbone.layers[min(plan.boundary for plan in plans) :], *_head(network)]
    return 4 * (2 * network.model.count_params() + 3 * 4 * sum(layer.count_params() for layer in trained))


def _head(network: Network) -> list[Any]:
    return [layer for layer in network.model.layers if layer.name in HEAD_LAYERS]


def _views(means: StageInputs, stage: TrainingStage) -> int:
    """Views kept of a training image: one for each epoch is enough."""
    return min(means.views, stage.epochs)


def _on_the_way(planned: list[PlannedStage], max_bytes: float) -> tuple[int, ...]:
    """Cuts of later stages that lie before the first one's and are still frozen when those begin."""
    first, found = planned[0], list[int]()
    frozen, room = first.plan.boundary, max_bytes - first.cut.cached_bytes
    for entry in planned[1:]:
        frozen = min(frozen, entry.plan.boundary)
        fits = entry.cut.cached and entry.cut.index <= min(frozen, first.cut.index) and entry.cut.cached_bytes <= room
        if fits and entry.cut.index not in (first.cut.index, *found):
            found.append(entry.cut.index)
            room -= entry.cut.cached_bytes
    return tuple(found) if first.cut.cached else ()


def run_stage(
    planned: PlannedStage,
    network: Network,
    data: Dataset,
    means: StageInputs,
    *,
    checkpointer: StageCheckpointer,
    predict_splits: tuple[str, ...],
    on_start: Callable[[int], None],
    on_epoch: Callable[[dict[str, Any]], None],
) -> StageResult:
    """Train one stage of the network in place.

    saver: saves it, and holds what it goes on from. judge: the splits whose probabilities are wanted at its end.
    on_start is called with the number of trainable weights. Raises FreezeBroken when a frozen weight moved.
    """
    stage, plan, backbone = planned.stage, planned.plan, network.backbone
    freeze.set_trainable(backbone.layers, plan.boundary)
    parts = divide_network(network, plan, cut_at(network, planned.cut.index))
    # The head is hashed too: a stage in which nothing moved has trained nothing.
    layers = [*backbone.layers, *_head(network)]
    before = checkpointer.begin(lambda: freeze.weight_hashes(layers))
    trainable = sum(int(np.prod(v.shape)) for v in parts.trained.trainable_variables)
    on_start(trainable)
    source = _Source(planned, parts, network, data, means)
    source.open()
    epochs = f"{stage.epochs} epoch{'s' * (stage.epochs != 1)}"
    say(f"  training {trainable:,} weights on {len(data.splits.train):,} images for {epochs}")
    with computing_in(parts.trained, means.choice.trained):
        result = fit(
            parts.trained,
            stage,
            source.batches("train", training=True),
            source.batches("val"),
            images=len(data.splits.train),
            train_config=means.train_config,
            head=means.head,
            class_weight=data.class_weight(means.train_config.class_weight),
            seed=data.seed,
            checkpointer=checkpointer,
            on_epoch=on_epoch,
        )
    unmoved = freeze.prove_frozen(before, freeze.weight_hashes(layers), layers, plan)
    if len(result.history) < stage.epochs:
        say(f"  stopped early after {len(result.history)} of {stage.epochs} epochs; the best weights are restored")
    say(_proof(plan, before, unmoved))
    started = time.perf_counter()
    judged = _judge(parts, planned, source, predict_splits, means.choice)
    kept = [a for views in source.kept.values() for a in views]
    return StageResult(
        planned=planned,
        fit=result,
        trainable_params=trainable,
        extract_seconds=source.seconds,
        judge_seconds=time.perf_counter() - started,
        hits=sum(a.rows.hits for a in kept),
        misses=sum(a.rows.misses for a in kept),
        cache_bytes=sum(a.rows.nbytes for a in kept),
        unmoved=unmoved,
        features_kept=plan.all_frozen
        and planned.cut.cached
        and planned.cut.index == plan.total_layers
        and not source.full,
        probabilities=judged,
    )


class _Source:
    """Where a stage's batches come from: kept activations, the engine, or the images themselves."""

    def __init__(
        self, planned: PlannedStage, parts: NetworkParts, network: Network, data: Dataset, means: StageInputs
    ) -> None:
        self.planned, self.data, self.means = planned, data, means
        self.kept: dict[str, list[Activations]] = {}
        self.full = False  # there was no room for all that was to be kept
        self.seconds = 0.0
        self.frozen = FrozenPart(parts.frozen, parts.cut, means.backbone, means.choice) if parts.cut.index else None
        self.later = [
            build_frozen_part(network, cut_at(network, index), means.backbone, means.choice)
            for index in planned.later_cuts
        ]

    def open(self) -> None:
        """Take the activations of all images from the cache, computing what is missing.

        Those of test images too, though only the last stage looks at them: the engine is at it.
        """
        if self.frozen is None or not self.planned.cut.cached:
            return
        started = time.perf_counter()
        try:
            self._keep(self.frozen)
        except CacheFull as error:  # the disk was filled since the plan was made
            self.full = True
            say(f"  what cannot be kept is computed in every epoch: {error}")
        self.seconds = time.perf_counter() - started
        found = [a.rows for views in self.kept.values() for a in views]
        say(
            f"  activations: {sum(r.hits for r in found):,} from the cache, {sum(r.misses for r in found):,} computed "
            f"in {self.seconds:.1f} s"
        )

    def _keep(self, frozen: FrozenPart) -> None:
        for split, indices in self.data.splits.by_name().items():
            if views := self.data.views(split, _views(self.means, self.planned.stage)):
                self.kept[split] = [
                    frozen.cached_activations(self.means.store, self.data.pixels, indices, view, self.later)
                    for view in views
                ]

    def batches(self, split: str, *, training: bool = False) -> BatchSequence:
        """The split's batches as `Parts.trained` takes them; shuffled in training."""
        options = self.means.train_config
        images = self.data.image_batches(
            split, options.batch_size, self.planned.stage.number, training=training, sampling=options.sampling
        )
        if split in self.kept:
            return CachedBatches(images, self.kept[split])
        if self.frozen is None:
            return images
        views = self.data.views(split, _views(self.means, self.planned.stage))
        # Rounded as what is kept: whether there is room for it must not change a number.
        return UncachedBatches(images, round_as_stored(self.frozen.inference_function(), self.means.choice), views)


def _judge(
    parts: NetworkParts, planned: PlannedStage, source: _Source, splits: tuple[str, ...], choice: EngineChoice
) -> dict[str, npt.NDArray[np.float32]]:
    if not splits:
        return {}
    # A head alone is a matter of milliseconds: not worth a conversion.
    head_alone = planned.cut.index == planned.plan.total_layers
    function = InferenceFunction(parts.trained, "keras" if head_alone else choice.engine, choice.trained)
    return {
        split: predict_probabilities(function, source.batches(split), split, len(source.data.splits.by_name()[split]))
        for split in splits
    }


def _proof(plan: FreezePlan, before: dict[str, dict[str, str]], unmoved: list[str]) -> str:
    weights = sum(len(variables) for variables in before.values())
    frozen = (
        f"layers[:{plan.boundary}] of {plan.total_layers} unchanged bit for bit"
        if plan.boundary
        else "nothing was frozen"
    )
    moved = ", every thawed layer moved" if not plan.all_frozen else ""
    if unmoved:
        moved = f"; thawed but unmoved: {', '.join(unmoved)}"
    return f"  proved: {frozen}{moved} ({weights} arrays hashed)"

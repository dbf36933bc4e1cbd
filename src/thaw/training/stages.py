"""Carries out one stage: applies the freeze plan, gets the activations, fits, proves the freeze, and judges."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from thaw.cache import RESERVE, Full, Room, Store
from thaw.common.console import say
from thaw.common.errors import UserError
from thaw.config.schema import BackboneConfig, HeadConfig, TrainConfig
from thaw.data.dataset import Data
from thaw.frozen import cuts
from thaw.frozen.activations import STORED, Activations, Frozen, KeptBatches, LiveBatches, as_kept, frozen_at
from thaw.frozen.batch_runner import Batches, probabilities
from thaw.frozen.cuts import Cut, Need
from thaw.frozen.engine import Choice, Function
from thaw.models import freeze
from thaw.models.freeze import FreezePlan
from thaw.models.network import HEAD_LAYERS, Network, Parts, part
from thaw.models.precision import computing_in
from thaw.training.fit import FitResult, fit
from thaw.training.recipes import Stage
from thaw.training.stage_checkpoint import Saver


@dataclass(frozen=True)
class Means:
    """What stages work with. store: the cache. views: augmented views kept of an image; 0: augmented anew."""

    choice: Choice
    store: Store
    views: int
    backbone: BackboneConfig
    options: TrainConfig
    head: HeadConfig


@dataclass(frozen=True)
class Planned:
    """A stage, its freeze plan, and where its activations are kept. room: what that was chosen for."""

    stage: Stage
    plan: FreezePlan
    cut: Cut
    need: Need
    room: Room
    later: tuple[int, ...] = ()  # cuts of later stages that are computed on the way to this one's, as `Cut.at`

    def lines(self, means: Means, augmented: bool) -> list[str]:
        """The plan as it is printed before anything runs."""
        kept = cuts.line(self.cut, self.plan, self.need, self.room.bytes, disk=self.room.disk)
        if augmented and not means.views and self.plan.boundary:
            kept = (
                "training images are augmented anew in every epoch, so every epoch runs the frozen layers "
                "(cache.views=4 would keep 4 views of each)"
            )
            if self.cut.kept:
                kept += f"; of validation and test images, {cuts.gb(self.cut.bytes)} are kept"
        return [f"stage {self.stage.name}: {self.plan.line()}", *([f"  {kept}"] if kept else [])]


@dataclass(frozen=True)
class StageResult:
    """A stage's plan and what came of it.

    extract_seconds: of the frozen part, for activations that are kept; judge_seconds: of `judged`. hits, misses: rows
    of the cache that were there, and that were computed; cache_bytes: of all that the stage took from it.
    judged: probabilities float32 (N, C) by split, under the stage's final weights. features_kept: all of the backbone
    was frozen, and its features are in the cache.
    """

    stage: Stage
    plan: FreezePlan
    fit: FitResult
    trainable_params: int
    extract_seconds: float
    judge_seconds: float
    hits: int
    misses: int
    cache_bytes: int
    unmoved: list[str]
    judged: dict[str, npt.NDArray[np.float32]]
    features_kept: bool

    def saved(self) -> dict[str, Any]:
        """What a checkpoint remembers of a finished stage; the rest follows from the config."""
        return {
            "fit": asdict(self.fit),
            **{name: getattr(self, name) for name in _SAVED},
        }

    @classmethod
    def restored(cls, stage: Stage, plan: FreezePlan, saved: Mapping[str, Any]) -> "StageResult":
        own = {name: saved[name] for name in _SAVED}
        return cls(stage=stage, plan=plan, fit=FitResult(**saved["fit"]), judged={}, **own)


_SAVED = (
    "trainable_params", "extract_seconds", "judge_seconds", "hits", "misses", "cache_bytes", "unmoved", "features_kept",
)  # fmt: skip


def plans(
    stages: list[Stage], network: Network, data: Data, means: Means, places: Sequence[int] | None = None
) -> list[Planned]:
    """Make every stage's plan before anything trains, so that a wrong request costs nothing.

    places: where each stage was cut (`Cut.at`), of a run that is resumed or done again.
    """
    backbone = network.backbone
    freezes = [freeze.plan(stage.freeze, backbone.graph, backbone.name, stage.batchnorm) for stage in stages]
    needs = [
        Need(
            images=sum(
                len(data.views(split, _views(means, stage))) * len(i) for split, i in data.splits.named().items()
            ),
            itemsize=STORED[means.choice.frozen].itemsize,
            pooled=int(np.prod(network.pooled.shape[1:])),
            head=sum(layer.count_params() for layer in _head(network)),
        )
        for stage in stages
    ]
    planned = []
    if places is not None and len(places) != len(stages):
        raise UserError(f"the run was planned in {len(places)} stages, and there are {len(stages)} now. Train anew")
    room = means.store.room(max(RESERVE, _beside(network, freezes)))
    chosen = cuts.share(freezes, backbone.graph, needs, room.bytes - data.pixels.kept_bytes, places)
    for stage, plan, need, cut in zip(stages, freezes, needs, chosen, strict=True):
        if places is None and data.augmented and not means.views and cut.at < plan.boundary:
            cut = cuts.choose(
                plan, backbone.graph, need, 0.0
            )  # training images, which are the many, run to the boundary
        planned.append(Planned(stage, plan, cut, need, room))
    return [replace(entry, later=_on_the_way(planned[i:], room.bytes)) for i, entry in enumerate(planned)]


def _beside(network: Network, plans: list[FreezePlan]) -> int:
    """Bytes that a run may write besides the cache: the network twice, and three checkpoints of what trains.

    Each of them holds weights, the best weights and two moments.
    """
    trained = [*network.backbone.layers[min(plan.boundary for plan in plans) :], *_head(network)]
    return 4 * (2 * network.model.count_params() + 3 * 4 * sum(layer.count_params() for layer in trained))


def _head(network: Network) -> list[Any]:
    return [layer for layer in network.model.layers if layer.name in HEAD_LAYERS]


def _views(means: Means, stage: Stage) -> int:
    """Views kept of a training image: one for each epoch is enough."""
    return min(means.views, stage.epochs)


def _on_the_way(planned: list[Planned], max_bytes: float) -> tuple[int, ...]:
    """Cuts of later stages that lie before the first one's and are still frozen when those begin."""
    first, found = planned[0], list[int]()
    frozen, room = first.plan.boundary, max_bytes - first.cut.bytes
    for entry in planned[1:]:
        frozen = min(frozen, entry.plan.boundary)
        fits = entry.cut.kept and entry.cut.at <= min(frozen, first.cut.at) and entry.cut.bytes <= room
        if fits and entry.cut.at not in (first.cut.at, *found):
            found.append(entry.cut.at)
            room -= entry.cut.bytes
    return tuple(found) if first.cut.kept else ()


def run_stage(
    planned: Planned,
    network: Network,
    data: Data,
    means: Means,
    *,
    saver: Saver,
    judge: tuple[str, ...],
    on_start: Callable[[int], None],
    on_epoch: Callable[[dict[str, Any]], None],
) -> StageResult:
    """Train one stage of the network in place.

    saver: saves it, and holds what it goes on from. judge: the splits whose probabilities are wanted at its end.
    on_start is called with the number of trainable weights. Raises FreezeBroken when a frozen weight moved.
    """
    stage, plan, backbone = planned.stage, planned.plan, network.backbone
    keras.utils.set_random_seed(data.seed + stage.number)  # a stage's dropout does not depend on the stages before it
    freeze.apply(backbone.layers, plan.boundary)
    parts = part(network, plan, planned.cut.at)
    # The head is hashed too: a stage in which nothing moved has trained nothing.
    layers = [*backbone.layers, *_head(network)]
    before = saver.begin(lambda: freeze.hashes(layers))
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
            options=means.options,
            head=means.head,
            class_weight=data.class_weight(means.options.class_weight),
            seed=data.seed,
            saver=saver,
            on_epoch=on_epoch,
        )
    unmoved = freeze.prove(before, freeze.hashes(layers), layers, plan)
    if len(result.history) < stage.epochs:
        say(f"  stopped early after {len(result.history)} of {stage.epochs} epochs; the best weights are restored")
    say(_proof(plan, before, unmoved))
    started = time.perf_counter()
    judged = _judge(parts, planned, source, judge, means.choice)
    kept = [a for views in source.kept.values() for a in views]
    return StageResult(
        stage,
        plan,
        result,
        trainable,
        source.seconds,
        time.perf_counter() - started,
        sum(a.rows.hits for a in kept),
        sum(a.rows.misses for a in kept),
        sum(a.rows.bytes for a in kept),
        unmoved,
        judged,
        plan.all_frozen and planned.cut.kept and planned.cut.at == plan.total and not source.full,
    )


class _Source:
    """Where a stage's batches come from: kept activations, the engine, or the images themselves."""

    def __init__(self, planned: Planned, parts: Parts, network: Network, data: Data, means: Means) -> None:
        self.planned, self.data, self.means = planned, data, means
        self.kept: dict[str, list[Activations]] = {}
        self.full = False  # there was no room for all that was to be kept
        self.seconds = 0.0
        at, *later = [frozen_at(network, at, means.backbone, means.choice) for at in (planned.cut.at, *planned.later)]
        self.frozen, self.later = at if planned.cut.at else None, later

    def open(self) -> None:
        """Take the activations of all images from the cache, computing what is missing.

        Those of test images too, though only the last stage looks at them: the engine is at it.
        """
        if self.frozen is None or not self.planned.cut.kept:
            return
        started = time.perf_counter()
        try:
            self._keep(self.frozen)
        except Full as error:  # the disk was filled since the plan was made
            self.full = True
            say(f"  what cannot be kept is computed in every epoch: {error}")
        self.seconds = time.perf_counter() - started
        found = [a.rows for views in self.kept.values() for a in views]
        say(
            f"  activations: {sum(r.hits for r in found):,} from the cache, {sum(r.misses for r in found):,} computed "
            f"in {self.seconds:.1f} s"
        )

    def _keep(self, frozen: Frozen) -> None:
        for split, indices in self.data.splits.named().items():
            if views := self.data.views(split, _views(self.means, self.planned.stage)):
                self.kept[split] = [
                    frozen.activations(self.means.store, self.data.pixels, indices, view, self.later) for view in views
                ]

    def batches(self, split: str, *, training: bool = False) -> Batches:
        """The split's batches as `Parts.trained` takes them; shuffled in training."""
        options = self.means.options
        images = self.data.batches(
            split, options.batch_size, self.planned.stage.number, training=training, sampling=options.sampling
        )
        if split in self.kept:
            return KeptBatches(images, self.kept[split])
        if self.frozen is None:
            return images
        views = self.data.views(split, _views(self.means, self.planned.stage))
        # Rounded as what is kept: whether there is room for it must not change a number.
        return LiveBatches(images, as_kept(self.frozen.function(), self.means.choice), views)


def _judge(
    parts: Parts, planned: Planned, source: _Source, splits: tuple[str, ...], choice: Choice
) -> dict[str, npt.NDArray[np.float32]]:
    if not splits:
        return {}
    # A head alone is a matter of milliseconds: not worth a conversion.
    head_alone = planned.cut.at == planned.plan.total
    function = Function(parts.trained, "keras" if head_alone else choice.engine, choice.trained)
    return {
        split: probabilities(function, source.batches(split), split, len(source.data.splits.named()[split]))
        for split in splits
    }


def _proof(plan: FreezePlan, before: dict[str, dict[str, str]], unmoved: list[str]) -> str:
    weights = sum(len(variables) for variables in before.values())
    frozen = (
        f"layers[:{plan.boundary}] of {plan.total} unchanged bit for bit" if plan.boundary else "nothing was frozen"
    )
    moved = ", every thawed layer moved" if not plan.all_frozen else ""
    if unmoved:
        moved = f"; thawed but unmoved: {', '.join(unmoved)}"
    return f"  proved: {frozen}{moved} ({weights} arrays hashed)"

"""Carries out one stage: applies the freeze plan, gets the activations, fits, and proves the freeze."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from thaw.config.schema import CacheConfig, HeadConfig, TrainConfig
from thaw.console import say
from thaw.errors import UserError
from thaw.frozen import activations, forward
from thaw.models import freeze
from thaw.models.freeze import FreezePlan
from thaw.models.network import HEAD_LAYERS, Network, Parts, part
from thaw.training.data import Data
from thaw.training.fit import FitResult, fit
from thaw.training.recipes import Stage


@dataclass(frozen=True)
class StageResult:
    """A stage's plan and what came of it; seconds for extraction and training, bytes of activations written.

    val_probabilities: of the validation images under the stage's final weights, float32 (N, C).
    """

    stage: Stage
    plan: FreezePlan
    fit: FitResult
    trainable_params: int
    extract_seconds: float
    extracted: int
    cache_bytes: int
    unmoved: list[str]
    val_probabilities: Any


def plans(stages: list[Stage], network: Network) -> list[FreezePlan]:
    """Make every stage's plan before anything trains, so that a wrong request costs nothing."""
    backbone = network.backbone
    return [freeze.plan(s.freeze, backbone.graph, backbone.name, s.batchnorm) for s in stages]


def run_stage(
    stage: Stage,
    plan: FreezePlan,
    network: Network,
    data: Data,
    *,
    options: TrainConfig,
    head: HeadConfig,
    cache: CacheConfig,
    folder: Path,
    keep: bool,
    on_start: Callable[[int], None],
    on_epoch: Callable[[dict[str, Any]], None],
) -> StageResult:
    """Train one stage of the network in place.

    folder: for the activations, which are removed afterwards unless `keep`; with `keep` they must be made.
    on_start is called with the number of trainable weights. Raises FreezeBroken when a frozen weight moved.
    """
    backbone = network.backbone
    keras.utils.set_random_seed(data.seed + stage.number)  # a stage's dropout does not depend on the stages before it
    freeze.apply(backbone.layers, plan.boundary)
    parts = part(network, plan)
    train = data.batches("train", options.batch_size, backbone.image_size, stage.number, training=True)
    val = data.batches("val", options.batch_size, backbone.image_size)
    # The head is hashed too: a stage in which nothing moved has trained nothing.
    layers = [*backbone.layers, *(layer for layer in network.model.layers if layer.name in HEAD_LAYERS)]
    before = freeze.hashes(layers)
    trainable = sum(int(np.prod(v.shape)) for v in parts.trained.trainable_variables)
    on_start(trainable)
    cached, seconds = _activations(parts, plan, data, options, cache, backbone.image_size, folder, keep)
    model: Any = parts.trained if cached else parts.whole
    if cached:
        train, val = (activations.ActivationBatches(b, a) for b, a in zip((train, val), cached, strict=True))  # type: ignore[assignment]
    say(f"  training {trainable:,} weights on {len(data.splits.train):,} images for {stage.epochs} epochs")
    try:
        result = fit(
            model,
            stage,
            train,
            val,
            images=len(data.splits.train),
            options=options,
            head=head,
            class_weight=data.class_weight(options.class_weight),
            on_epoch=on_epoch,
        )
        unmoved = freeze.prove(before, freeze.hashes(layers), layers, plan)
        guesses = forward.probabilities(model, val, "validation", len(data.splits.val))
    finally:
        if not keep:
            activations.remove(cached or [])
    if len(result.history) < stage.epochs:
        say(f"  stopped early after {len(result.history)} of {stage.epochs} epochs; the best weights are restored")
    say(_proof(plan, before, unmoved))
    return StageResult(
        stage,
        plan,
        result,
        trainable,
        seconds,
        len(data.splits.train) + len(data.splits.val) if cached else 0,
        sum(a.bytes for a in cached) if cached else 0,
        unmoved,
        guesses,
    )


def _activations(
    parts: Parts,
    plan: FreezePlan,
    data: Data,
    options: TrainConfig,
    cache: CacheConfig,
    image_size: int,
    folder: Path,
    keep: bool,
) -> tuple[list[activations.Activations] | None, float]:
    """Compute the activations of training and validation images, or say why the stage goes without."""
    images = len(data.splits.train) + len(data.splits.val)
    size = activations.size(images, parts.cut_shapes)
    if plan.boundary == 0:
        return None, 0.0
    if data.augmented:
        say("  every epoch runs the frozen layers: augmented images differ each time")
        return None, 0.0
    if size > cache.max_gb * 1e9:
        if keep:
            raise UserError(
                f"recipe=bottleneck keeps {_bytes(size)} of features, and cache.max_gb={cache.max_gb:g}: raise it, "
                "or choose head=gap_dense, whose features are pooled"
            )
        say(f"  every epoch runs the frozen layers: activations take {_bytes(size)}, cache.max_gb={cache.max_gb:g}")
        return None, 0.0
    say(f"  frozen activations of {images:,} images, computed once: {_bytes(size)}")
    started = time.perf_counter()
    found: list[activations.Activations] = []
    try:
        for split in ("train", "val"):
            batches = data.batches(split, options.batch_size, image_size)
            found.append(activations.extract(parts.frozen, batches, folder, split, parts.cut_shapes))
    except BaseException:
        activations.remove(found)
        raise
    return found, time.perf_counter() - started


def _bytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _proof(plan: FreezePlan, before: dict[str, dict[str, str]], unmoved: list[str]) -> str:
    weights = sum(len(variables) for variables in before.values())
    frozen = (
        f"layers[:{plan.boundary}] of {plan.total} unchanged bit for bit" if plan.boundary else "nothing was frozen"
    )
    moved = ", every thawed layer moved" if not plan.all_frozen else ""
    if unmoved:
        moved = f"; thawed but unmoved: {', '.join(unmoved)}"
    return f"  proved: {frozen}{moved} ({weights} arrays hashed)"

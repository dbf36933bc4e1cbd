"""Trains one stage: sets what is frozen, gets the batches, fits, proves that nothing frozen moved, and predicts."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from thaw.common.console import say
from thaw.data.dataset import Dataset
from thaw.frozen.batch_runner import predict_probabilities
from thaw.frozen.engine import InferenceFunction
from thaw.models import freeze, freeze_proof
from thaw.models.compute_precision import computing_in
from thaw.models.freeze import FreezePlan
from thaw.models.network import Network, NetworkParts, cut_at, divide_network, head_layers, mean_over_positions
from thaw.training import rate_choice
from thaw.training.checkpoint_callback import StageCheckpointer, WeightHashes
from thaw.training.fit import FitInputs, fit
from thaw.training.logistic_head import fit_head
from thaw.training.range_test import run_range_test
from thaw.training.recipes import TrainingStage
from thaw.training.stage_batches import BatchSource
from thaw.training.stage_plans import PlannedStage, StageInputs
from thaw.training.stage_result import StageResult


def run_stage(
    planned: PlannedStage,
    network: Network,
    data: Dataset,
    inputs: StageInputs,
    *,
    checkpointer: StageCheckpointer,
    predict_splits: Sequence[str],
    on_start: Callable[[int], None],
    on_epoch: Callable[[dict[str, Any]], bool | None],
    on_found_rate: Callable[[float], None] = lambda rate: None,
    sample: npt.NDArray[np.int64] | None = None,
) -> StageResult:
    """Train one stage of the network in place, from its beginning or from the checkpointer's checkpoint.

    predict_splits: the splits whose probabilities the result has. on_start is called with the number of trainable
    weights, on_epoch with each entry of the history, behind which the stage ends if it returns true, on_found_rate with
    a rate that a range test found. sample: test images, by their catalog indices, whose features the result has if they
    are in the cache.

    Raises:
        FreezeBroken: A frozen weight moved, or nothing was trained.
        Diverged: The loss is no longer finite.
    """
    stage, plan = planned.stage, planned.plan
    freeze.set_trainable(network.backbone.layers, plan.boundary)
    parts = divide_network(network, plan, cut_at(network, planned.cut.index), inputs.choice.training_step)
    # The head is hashed too: a stage in which nothing moved has trained nothing.
    layers = [*network.backbone.layers, *head_layers(network)]
    hashes = checkpointer.begin_stage(lambda: freeze_proof.weight_hashes(layers))
    trainable = sum(int(np.prod(v.shape)) for v in parts.trained.trainable_variables)
    on_start(trainable)
    source = BatchSource(planned, parts.cut, network, data, inputs)
    if stage.solved:
        options = inputs.train_config  # each image counts once in the solution, so sampling evenly is weighing
        class_weight = data.class_weight("balanced" if options.sampling == "balanced" else options.class_weight)
        say(f"  solving for {trainable:,} weights on {len(data.splits.train):,} images")
        fitted = fit_head(network, parts.cut, stage, data, source.batches, class_weight, on_epoch)
    else:
        epochs = f"{stage.epochs} epoch{'s' * (stage.epochs != 1)}"
        averaged = (
            "" if stage.optimizer.ema is None else f" · keeping their moving average, {stage.optimizer.ema:g} a step"
        )
        say(f"  training {trainable:,} weights on {len(data.splits.train):,} images for {epochs}{averaged}")
        fit_inputs = stage_fit_inputs(planned, network, data, inputs, source)
        with training_precision(parts, inputs):
            if stage.finds_rate:
                stage = _with_found_rate(stage, parts, fit_inputs, checkpointer)
                planned = replace(planned, stage=stage)
                on_found_rate(stage.optimizer.learning_rate)
            _say_rates(network, planned)
            fitted = fit(parts.trained, stage, fit_inputs, checkpointer, on_epoch)
    unmoved = freeze_proof.prove_frozen(hashes, freeze_proof.weight_hashes(layers), layers, plan)
    if inputs.train_config.patience and len(fitted.history) < stage.epochs:
        say(f"  stopped early after {len(fitted.history)} of {stage.epochs} epochs; the best weights are restored")
    elif inputs.train_config.keep == "best" and not stage.solved:
        best = min(fitted.history, key=lambda entry: entry["val_loss"])
        say(f"  kept: epoch {best['epoch']}, which has the lowest validation loss, {best['val_loss']:.4f}")
    say(_proof(plan, hashes, unmoved))
    started = time.perf_counter()
    probabilities = _predict(network, planned, inputs, source, data, predict_splits)
    all_frozen = plan.all_frozen and planned.cut.index == plan.total_layers
    sampled = None if sample is None or not all_frozen else _cached_features(network, source, sample)
    rows = source.rows()
    return StageResult(
        planned=planned,
        fit=fitted,
        trainable_params=trainable,
        extract_seconds=source.seconds,
        judge_seconds=time.perf_counter() - started,
        hits=sum(r.hits for r in rows),
        misses=sum(r.misses for r in rows),
        cache_bytes=sum(r.nbytes for r in rows),
        unmoved=unmoved,
        features_kept=all_frozen and source.complete,
        probabilities=probabilities,
        sampled_features=sampled,
    )


def training_precision(parts: NetworkParts, inputs: StageInputs) -> AbstractContextManager[None]:
    """Return the context in which a stage's trained part computes in the precision of the run."""
    by_operation = inputs.choice.training_step == "folded"
    return computing_in(parts.trained, inputs.choice.trained, by_operation=by_operation)


def stage_fit_inputs(
    planned: PlannedStage, network: Network, data: Dataset, inputs: StageInputs, source: BatchSource
) -> FitInputs:
    """Return what a stage's trained part is fitted to."""
    return FitInputs(
        train=source.batches("train", training=True),
        val=source.batches("val"),
        images=len(data.splits.train),
        class_weight=data.class_weight(inputs.train_config.class_weight),
        train_config=inputs.train_config,
        head=inputs.head,
        seed=data.seed,
        devices=inputs.choice.devices,
        rate_factors=_rate_factors(network, planned),
    )


def predict_stage(
    planned: PlannedStage, network: Network, data: Dataset, inputs: StageInputs, splits: Sequence[str]
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the probabilities of whole splits, float32 (N, C) each, by a network that is cut as in a stage."""
    source = BatchSource(planned, cut_at(network, planned.cut.index), network, data, inputs)
    return _predict(network, planned, inputs, source, data, splits)


def _with_found_rate(
    stage: TrainingStage, parts: NetworkParts, inputs: FitInputs, checkpointer: StageCheckpointer
) -> TrainingStage:
    """Return the stage with the rate that a range test finds, or found before the stage was stopped."""
    if checkpointer.found_rate is None:
        test = run_range_test(parts.trained, stage, inputs)
        rate = rate_choice.suggest(test, stage.name, stage.optimizer.name)
        say(f"  {rate_choice.summary(test, stage.optimizer.name, rate)}")
        checkpointer.save_found_rate(rate)
    assert checkpointer.found_rate is not None
    return stage.with_found_rate(checkpointer.found_rate)


def _rate_factors(network: Network, planned: PlannedStage) -> dict[int, float] | None:
    """Return by a thawed variable's id what its learning rate is multiplied by; None where all have one rate."""
    factors, layers = _factors_of_layers(network, planned), network.backbone.layers
    return {id(variable): factors[index] for index in factors for variable in layers[index].trainable_variables} or None


def _say_rates(network: Network, planned: PlannedStage) -> None:
    """Print each block's rate where they differ."""
    graph, head = network.backbone.graph, planned.stage.optimizer.learning_rate
    rates = {
        graph.blocks[-freeze.blocks_behind(graph, index)].name if graph.blocks else "layers": head * factor
        for index, factor in _factors_of_layers(network, planned).items()
    }
    if rates:
        by_block = " · ".join(f"{name} {rate:.2g}" for name, rate in rates.items())
        say(f"  learning rates: {by_block} · head {head:.2g}")


def _factors_of_layers(network: Network, planned: PlannedStage) -> dict[int, float]:
    """Return by a thawed layer's index what its learning rate is multiplied by; empty where all have one rate."""
    decay, boundary = planned.stage.optimizer.layer_decay, planned.plan.boundary
    if decay == 1 or planned.plan.all_frozen:
        return {}
    indices = range(boundary, len(network.backbone.layers))
    return {index: decay ** freeze.blocks_behind(network.backbone.graph, index) for index in indices}


def _predict(
    network: Network,
    planned: PlannedStage,
    inputs: StageInputs,
    source: BatchSource,
    data: Dataset,
    splits: Sequence[str],
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the network's probabilities of whole splits, float32 (N, C) each, computed as `TwoPartClassifier` does."""
    if not splits:
        return {}
    model = keras.Model(list(cut_at(network, planned.cut.index).tensors), network.model.output, name="rest")
    # A head alone is a matter of milliseconds: not worth a conversion.
    head_alone = planned.cut.index == planned.plan.total_layers
    function = InferenceFunction(model, "keras" if head_alone else inputs.choice.engine, inputs.choice.evaluated)
    n_images = {split: len(indices) for split, indices in data.splits.by_name().items()}
    return {split: predict_probabilities(function, source.batches(split), split, n_images[split]) for split in splits}


def _cached_features(
    network: Network, source: BatchSource, indices: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32] | None:
    """Return the pooled features of test images, float32 (n, D), as they are cached; None if they are not."""
    if "test" not in source.cached:
        return None
    return mean_over_positions(network, source.cached["test"][0].take(indices)[0])


def _proof(plan: FreezePlan, hashes: WeightHashes, unmoved: list[str]) -> str:
    """Return the printed line on what was proved."""
    arrays = sum(len(variables) for variables in hashes.values())
    frozen = "nothing was frozen"
    if plan.boundary:
        frozen = f"layers[:{plan.boundary}] of {plan.total_layers} unchanged bit for bit"
    moved = "" if plan.all_frozen else ", every thawed layer moved"
    if unmoved:
        moved = f"; thawed but unmoved: {', '.join(unmoved)}"
    return f"  proved: {frozen}{moved} ({arrays} arrays hashed)"

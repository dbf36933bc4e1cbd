"""Fits one stage: compiles anew, and runs its epochs from the first or from where a checkpoint was written."""

from collections.abc import Callable
from typing import Any

import keras

from thaw.common import backend
from thaw.common.console import progress
from thaw.common.signals import defer_signals
from thaw.config.schema import HeadConfig, TrainConfig
from thaw.frozen.batch_runner import BatchSequence
from thaw.training import optimizers
from thaw.training.batch_feed import tf_dataset
from thaw.training.callbacks import EpochLogger, LearningRateCallback, StageCallbacks, ValidationCallback
from thaw.training.checkpoint import TrainingProgress
from thaw.training.checkpoint_callback import CheckpointCallback
from thaw.training.recipes import TrainingStage
from thaw.training.stage_checkpoint import StageCheckpointer
from thaw.training.stage_result import FitResult


def fit(
    model: Any,
    stage: TrainingStage,
    train: BatchSequence,
    val: BatchSequence,
    *,
    images: int,
    train_config: TrainConfig,
    head: HeadConfig,
    class_weight: dict[int, float] | None,
    seed: int,
    checkpointer: StageCheckpointer,
    on_epoch: Callable[[dict[str, Any]], None],
) -> FitResult:
    """Train `model` on `train` for the stage's epochs; `on_epoch` is called with each entry of the history.

    model: an uncompiled Keras model, batches in, probabilities out. images: training images an epoch. What `saver`
    found is gone on from, to the same end, bit for bit. Ctrl-C and SIGTERM wait for the end of a step, which is saved.
    Raises Diverged when the loss is no longer a finite number.
    """
    sigmoid = head.output == "sigmoid"
    losses = keras.losses.BinaryCrossentropy if sigmoid else keras.losses.CategoricalCrossentropy
    model.compile(
        optimizer=optimizers.build_optimizer(stage.optimizer),
        loss=losses(label_smoothing=head.label_smoothing),
        metrics=["accuracy"],
        jit_compile=backend.jit_compile(),
    )
    steps, place = (
        len(train),
        checkpointer.resume_from.progress if checkpointer.resume_from else TrainingProgress(stage.number, 0, 0),
    )
    with progress(stage.name, (steps + len(val)) * stage.epochs) as bar, defer_signals("after this step") as stops:
        bar.advance((steps + len(val)) * place.epoch + place.step)
        epochs = EpochLogger(stage, images, steps, bar, on_epoch)
        ending = _ending(stage, train_config)
        keep = CheckpointCallback(stage, seed, checkpointer, stops, epochs, ending)
        # Epochs before those that change the rate: it records the one that the epoch was trained with.
        validate = ValidationCallback(val, sigmoid, train_config.val_loss == "objective", bar, keep.save_if_stopped)
        callbacks = StageCallbacks([LearningRateCallback(stage, steps, place), validate, epochs, *ending, keep], model)
        _run(model, stage, train, place, sigmoid, class_weight, callbacks, keep)
    return FitResult(epochs.history, epochs.seconds)


def _run(
    model: Any,
    stage: TrainingStage,
    train: BatchSequence,
    place: TrainingProgress,
    sigmoid: bool,
    class_weight: dict[int, float] | None,
    callbacks: StageCallbacks,
    keep: CheckpointCallback,
) -> None:
    """All epochs from `place` on; one that was cut gets a `fit` of its own, as Keras knows whole epochs only."""
    steps = len(train)

    def some(epoch: int, step: int, end: int) -> None:
        model.fit(
            tf_dataset(train, sigmoid, epoch, step, stage.epochs + 1),  # one more: at its very end Keras starts it anew
            initial_epoch=epoch,
            epochs=end,
            steps_per_epoch=steps - step or steps,
            class_weight=class_weight,
            shuffle=False,  # the batches are shuffled already, by (seed, stage, epoch)
            verbose=0,
            callbacks=callbacks,
        )

    epoch = place.epoch
    if keep.ended:
        some(epoch, 0, epoch)  # no epoch: makes the variables and puts back what they were
    elif place.step == steps:  # stopped in validation
        some(epoch, 0, epoch)
        callbacks.on_epoch_begin(epoch)
        callbacks.on_epoch_end(epoch, dict(model.get_metrics_result()))
        epoch += 1
    elif place.step:
        some(epoch, place.step, epoch + 1)
        epoch += 1
    if not keep.ended:
        some(epoch, 0, stage.epochs)
    callbacks.end()


def _ending(stage: TrainingStage, options: TrainConfig) -> list[Any]:
    """Keras's callbacks that watch the validation loss: lower the rate, end the stage early."""
    chosen: list[Any] = []
    if stage.optimizer.schedule == "plateau":
        chosen.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor="val_loss", factor=stage.optimizer.plateau_factor, patience=stage.optimizer.plateau_patience
            )
        )
    if options.patience:
        chosen.append(
            keras.callbacks.EarlyStopping(monitor="val_loss", patience=options.patience, restore_best_weights=True)
        )
    return chosen

"""Fits one stage: compiles the model, and runs the stage's epochs from the first or from a checkpoint."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import keras

from thaw.common import devices, tensorflow_setup
from thaw.common.console import progress
from thaw.common.signals import defer_signals
from thaw.config.schema import HeadConfig, TrainConfig
from thaw.frozen.batch_runner import BatchSequence
from thaw.training import data_parallel, optimizers
from thaw.training.averaged_weights import AveragedWeights, HideAverage, ShowAverage
from thaw.training.callbacks import EpochLogger, LearningRateCallback, StageCallbacks, ValidationCallback
from thaw.training.checkpoint_callback import CheckpointCallback, StageCheckpointer
from thaw.training.recipes import TrainingStage
from thaw.training.stage_result import FitResult
from thaw.training.tf_datasets import tf_dataset


@dataclass(frozen=True, kw_only=True)
class FitInputs:
    """What a model is fitted to, and how.

    train, val: batches in, as the model takes them. images: of training an epoch. class_weight: of the loss, by label.
    seed: of dropout. devices: that train; the model's variables are on all of them. rate_factors: by a variable's id,
    what its learning rate is multiplied by.
    """

    train: BatchSequence
    val: BatchSequence
    images: int
    class_weight: dict[int, float] | None
    train_config: TrainConfig
    head: HeadConfig
    seed: int
    devices: int = 1
    rate_factors: Mapping[int, float] | None = None

    @property
    def sigmoid(self) -> bool:
        """Whether the model gives one probability, of the second of two classes."""
        return self.head.output == "sigmoid"


def fit(
    model: Any,
    stage: TrainingStage,
    inputs: FitInputs,
    checkpointer: StageCheckpointer,
    on_epoch: Callable[[dict[str, Any]], bool | None],
) -> FitResult:
    """Train `model` for the stage's epochs; a resumed stage ends as if it had not been stopped, bit for bit.

    model: an uncompiled Keras model, batches in, probabilities out. on_epoch is called with each entry of the history;
    the stage ends if it returns true. Ctrl-C and SIGTERM wait for the end of a step, which is saved. Raises Diverged
    when the loss is no longer finite.
    """
    model = compiled(model, stage, inputs)
    train, val, start = inputs.train, inputs.val, checkpointer.start
    steps = len(train) + len(val)
    with progress(stage.name, steps * stage.epochs) as bar, defer_signals("after this step") as pending:
        bar.advance(steps * start.epoch + start.step)
        epochs = EpochLogger(stage, inputs.images, len(train), bar, on_epoch)
        plateau_and_stopping = _plateau_and_early_stopping(stage, inputs.train_config)
        averaged = AveragedWeights(model) if stage.optimizer.ema is not None else None
        checkpoint = CheckpointCallback(
            stage, inputs.seed, checkpointer, pending, epochs, plateau_and_stopping, averaged
        )
        objective = inputs.train_config.val_loss == "objective"
        validation = ValidationCallback(val, inputs.sigmoid, objective, bar, checkpoint.save_if_stopped)
        # The epochs are logged before the callbacks that change the rate: with the one that they were trained with.
        learning_rate = LearningRateCallback(stage, len(train), start)
        watching = [validation, epochs, *plateau_and_stopping]
        if averaged is not None:
            watching = [ShowAverage(averaged), *watching, HideAverage(averaged)]
        callbacks = StageCallbacks([learning_rate, *watching, checkpoint], model)
        whole = inputs.devices == 1
        with nullcontext() if whole else data_parallel.statistics_of_whole_batches(model):
            _run_epochs(model, stage, inputs, callbacks, checkpoint)
    return FitResult(epochs.history, epochs.seconds)


def compiled(model: Any, stage: TrainingStage, inputs: FitInputs) -> Any:
    """Return the model ready for `fit`; on several devices another one, which shares its layers."""
    if inputs.devices > 1:
        model = data_parallel.DataParallelModel.of(model, devices.strategy(inputs.devices))
    with devices.variables_on(inputs.devices):
        optimizer = optimizers.build_optimizer(stage.optimizer, inputs.rate_factors)
    losses = keras.losses.BinaryCrossentropy if inputs.sigmoid else keras.losses.CategoricalCrossentropy
    model.compile(
        optimizer=optimizer,
        loss=losses(label_smoothing=inputs.head.label_smoothing),
        metrics=["accuracy"],
        # What XLA compiles runs on one device.
        jit_compile=inputs.devices == 1 and tensorflow_setup.jit_compile(),
    )
    return model


def _run_epochs(
    model: Any, stage: TrainingStage, inputs: FitInputs, callbacks: StageCallbacks, checkpoint: CheckpointCallback
) -> None:
    """Run all epochs that are left; one that was stopped gets a `fit` of its own, as Keras knows whole epochs only."""
    steps = len(inputs.train)

    def run(epoch: int, end: int, step: int = 0) -> None:
        model.fit(
            # One epoch more: at its very end Keras starts the data set anew.
            tf_dataset(inputs.train, inputs.sigmoid, epoch, step, stage.epochs + 1),
            initial_epoch=epoch,
            epochs=end,
            steps_per_epoch=steps - step,
            class_weight=inputs.class_weight,
            shuffle=False,  # the batches are shuffled already, by (seed, stage, epoch)
            verbose=0,
            callbacks=callbacks,
        )

    callbacks.on_train_begin()  # restores a resumed stage
    epoch, step = checkpoint.start.epoch, checkpoint.start.step
    if step and not checkpoint.ended:
        if step < steps:
            run(epoch, epoch + 1, step)
        else:  # stopped in validation
            callbacks.on_epoch_begin(epoch)
            callbacks.on_epoch_end(epoch, dict(model.get_metrics_result()))
        epoch += 1
    if not checkpoint.ended:
        run(epoch, stage.epochs)
    callbacks.end_stage()


def _plateau_and_early_stopping(stage: TrainingStage, train_config: TrainConfig) -> list[Any]:
    """Return Keras's callbacks that watch the validation loss: lower the rate, end the stage early, keep the best."""
    optimizer, chosen = stage.optimizer, list[Any]()
    if optimizer.schedule == "plateau":
        factor, patience = optimizer.plateau_factor, optimizer.plateau_patience
        chosen.append(keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=factor, patience=patience))
    # Keras's early stopping keeps the best epoch's weights; with as much patience as there are epochs it stops none.
    if patience := train_config.patience or (stage.epochs if train_config.keep == "best" else 0):
        chosen.append(keras.callbacks.EarlyStopping(monitor="val_loss", patience=patience, restore_best_weights=True))
    return chosen

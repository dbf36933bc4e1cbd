"""Fits small networks on one and on two devices; run in a process of its own, with THAW_LOGICAL_CPUS=2.

`python fitting_on_devices.py OUT [slow]` pickles what came of each: weights, their copies on all devices, history.
"""

import pickle
import sys
import tempfile
from pathlib import Path

import numpy as np

from thaw.common import devices, tensorflow_setup
from thaw.config.schema import CheckpointConfig, HeadConfig, OptimizerConfig, TrainConfig
from thaw.training.checkpoint import CheckpointDir
from thaw.training.recipes import TrainingStage

EPOCHS = 3
SIZES = (8, 8, 8, 5)  # of an epoch's batches: the last one is short, and its halves differ


class Noise:
    """Batches that are a function of epoch and step, as a run's are."""

    def __init__(self, sizes: tuple[int, ...], labels: int) -> None:
        self.sizes, self.labels = sizes, labels

    def __len__(self) -> int:
        return len(self.sizes)

    def batch(self, epoch: int, i: int):
        rng = np.random.default_rng([sum(self.sizes), epoch, i])
        targets = np.eye(self.labels, dtype=np.float32)[rng.integers(self.labels, size=self.sizes[i])]
        images = rng.normal(size=(len(targets), 6, 6, 2)).astype(np.float32)
        return (images + targets.argmax(1)[:, None, None, None],), targets


class Killed(BaseException):
    pass


def network(labels: int, dropout: float):
    import keras

    keras.utils.set_random_seed(0)
    x = images = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(4, 3, use_bias=False)(x)  # BatchNorm takes a bias away, and Adam follows its rounding
    x = keras.layers.BatchNormalization(momentum=0.5)(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dropout(dropout)(x) if dropout else x
    out = keras.layers.Dense(1, activation="sigmoid") if labels == 2 else keras.layers.Dense(3, activation="softmax")
    return keras.Model(images, out(x))


def fitted(
    count: int, folder: Path | None = None, *, die_after: int | None = None, sizes=SIZES, labels: int = 3,
    dropout: float = 0.0, smoothing: float = 0.0, precision: str = "float32", optimizer: str = "sgd",
) -> dict:  # fmt: skip
    """Fit on so many devices, from what the folder holds; die, as by kill -9, after so many checkpoints."""
    from thaw.models.compute_precision import computing_in
    from thaw.training.checkpoint_callback import StageCheckpointer
    from thaw.training.fit import FitInputs, fit

    tensorflow_setup.start_tensorflow(0, deterministic=True)
    directory = CheckpointDir(folder or Path(tempfile.mkdtemp()), 2, "run")
    checkpoint = directory.load_newest()
    with devices.variables_on(count):
        model = network(labels, dropout)

    class EveryStep(StageCheckpointer):
        written = 0

        def due_mid_epoch(self) -> bool:
            return folder is not None

        def save(self, *place_and_state) -> None:
            super().save(*place_and_state)
            EveryStep.written += 1
            if EveryStep.written == die_after:
                raise Killed

    checkpointer = EveryStep(directory, CheckpointConfig(), 0, model.weights, resume_from=checkpoint)
    checkpointer.begin_stage(dict)
    inputs = FitInputs(
        train=Noise(sizes, labels), val=Noise((7, 4), labels), images=sum(sizes),
        class_weight={0: 1.0, 1: 2.0, 2: 0.5},
        train_config=TrainConfig(patience=9, val_loss="objective"),
        head=HeadConfig(label_smoothing=smoothing, output="sigmoid" if labels == 2 else "softmax"), seed=7,
        devices=count,
    )  # fmt: skip
    config = OptimizerConfig(
        name=optimizer, learning_rate=0.05, momentum=0.9 if optimizer == "sgd" else None, schedule="cosine",
        warmup_epochs=1.5,
    )  # fmt: skip
    if optimizer == "adamw":
        config.weight_decay = 0.1
    stage = TrainingStage(0, "stage", "none", "trainable", EPOCHS, 0, config)
    with computing_in(model, precision):
        result = fit(model, stage, inputs, checkpointer, lambda entry: None)
    history = [{k: v for k, v in entry.items() if k != "images_per_second"} for entry in result.history]
    copies = [[copy.numpy() for copy in devices.strategy(2).experimental_local_results(v.value)] for v in model.weights]
    synchronized = [layer.synchronized for layer in model.layers if hasattr(layer, "synchronized")]
    return {"weights": model.get_weights(), "history": history, "copies": copies, "synchronized": synchronized}


def killed_and_resumed(counts: tuple[int, int], moment: int, **options) -> dict:
    folder = Path(tempfile.mkdtemp())
    try:
        fitted(counts[0], folder, die_after=moment, **options)
    except Killed:
        return fitted(counts[1], folder, **options)
    raise AssertionError("it was not killed")


CASES = {"plain": {}, "sigmoid": {"labels": 2}}
SLOW_CASES = {
    "smoothed": {"smoothing": 0.1},
    "adamw": {"optimizer": "adamw"},
    "one image left": {"sizes": (8, 8, 1)},
    "float16": {"precision": "float16"},
}
MOMENTS, SLOW_MOMENTS = (
    (3,),
    (4, 5, 7),
)  # inside an epoch: before its short batch; after it, after the epoch, in the next


def outcomes(slow: bool) -> dict:
    cases = SLOW_CASES if slow else CASES
    results = {(case, count): fitted(count, **options) for case, options in cases.items() for count in (1, 2)}
    dropped = {"dropout": 0.4, "optimizer": "adamw"}
    results["dropout", 2] = fitted(2, **dropped)
    for moment in SLOW_MOMENTS if slow else MOMENTS:
        results["dropout", 2, moment] = killed_and_resumed((2, 2), moment, **dropped)
    if not slow:
        results |= {("plain", counts): killed_and_resumed(counts, 7) for counts in ((1, 2), (2, 1))}
    return results


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(pickle.dumps(outcomes(sys.argv[2:] == ["slow"])))

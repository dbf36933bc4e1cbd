"""A fit that was stopped anywhere ends as if it had not been: same weights, same history, to the last bit."""

import signal
from pathlib import Path

import numpy as np
import pytest

from thaw.common import tensorflow_setup
from thaw.config.schema import CheckpointConfig, HeadConfig, OptimizerConfig, TrainConfig
from thaw.training.checkpoint import Checkpoint, CheckpointDir, TrainingProgress
from thaw.training.recipes import TrainingStage

STEPS, EPOCHS = 4, 6


class Noise:
    """Batches that are a function of epoch and step, as a run's are."""

    def __init__(self, length: int, labels: int = 3) -> None:
        self.length, self.labels = length, labels

    def __len__(self) -> int:
        return self.length

    def batch(self, epoch: int, i: int):
        rng = np.random.default_rng([self.length, epoch if self.length == STEPS else 0, i])
        targets = np.eye(self.labels, dtype=np.float32)[rng.integers(self.labels, size=8)]
        return (rng.normal(size=(8, 6, 6, 2)).astype(np.float32) + targets.argmax(1)[:, None, None, None],), targets


class Killed(BaseException):
    pass


def network():
    import keras

    keras.utils.set_random_seed(0)
    x = images = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(4, 3)(x)
    x = keras.layers.BatchNormalization(momentum=0.5)(x)
    x = keras.layers.Dropout(0.4)(keras.layers.Flatten()(x))
    return keras.Model(images, keras.layers.Dense(3, activation="softmax", name="predictions")(x))


def train(
    folder: Path,
    *,
    die_after: int | None = None,
    patience: int = 3,
    schedule: str = "plateau",
    on_epoch=None,
    precision: str = "float32",
    ema: float | None = None,
    weights_of_steps: list | None = None,
):
    """Train on from what the folder holds; die, as by kill -9, right after so many checkpoints were written."""
    from thaw.models.compute_precision import computing_in
    from thaw.training.checkpoint_callback import StageCheckpointer
    from thaw.training.fit import FitInputs, fit

    tensorflow_setup.start_tensorflow(0, deterministic=True)
    directory = CheckpointDir(folder, 2, "run")
    checkpoint = directory.load_newest()
    model = network()

    class Everywhere(StageCheckpointer):
        """Saves after every step."""

        written = 0

        def due_mid_epoch(self) -> bool:
            return True

        def save(self, *place_and_state) -> None:
            super().save(*place_and_state)
            Everywhere.written += 1
            if weights_of_steps is not None and place_and_state[1]:
                weights_of_steps.append([v.numpy() for v in self.variables])
            if Everywhere.written == die_after:
                raise Killed

    optimizer = OptimizerConfig(
        name="adam", learning_rate=0.05, schedule=schedule, warmup_epochs=1.5, plateau_patience=1, ema=ema
    )
    checkpointer = Everywhere(directory, CheckpointConfig(), 0, model.weights, resume_from=checkpoint)
    checkpointer.begin_stage(dict)
    inputs = FitInputs(
        train=Noise(STEPS), val=Noise(3), images=32, class_weight={0: 1.0, 1: 2.0, 2: 0.5},
        train_config=TrainConfig(patience=patience), head=HeadConfig(), seed=7,
    )  # fmt: skip
    with computing_in(model, precision):
        stage = TrainingStage(0, "stage", "none", "trainable", EPOCHS, 0, optimizer)
        result = fit(model, stage, inputs, checkpointer, on_epoch or (lambda entry: None))
    history = [{k: v for k, v in entry.items() if k != "images_per_second"} for entry in result.history]
    return [w.tobytes() for w in model.get_weights()], history


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole"))


def test_early_stopping_and_plateau_take_part(whole) -> None:
    _, history = whole
    assert len({entry["learning_rate"] for entry in history}) > 1
    best = min(range(len(history)), key=lambda i: history[i]["val_loss"])
    assert best < len(history) - 1, "the best weights are not the last ones"


@pytest.mark.parametrize("moment", [4, 5, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 6, 12, 18, 24))])
def test_killed_after_any_checkpoint_it_ends_as_if_it_had_not_been(tmp_path: Path, whole, moment: int) -> None:
    """Five checkpoints an epoch: after each step, and after validation."""
    with pytest.raises(Killed):
        train(tmp_path, die_after=moment)
    assert train(tmp_path) == whole


@pytest.mark.slow
def test_killed_at_every_checkpoint_in_turn(tmp_path: Path, whole) -> None:
    for _ in range(3):
        with pytest.raises(Killed):
            train(tmp_path, die_after=3)
    assert train(tmp_path) == whole


@pytest.mark.parametrize(
    "precision", [pytest.param("bfloat16", marks=pytest.mark.slow), "float16"]
)  # float16 adds the state of its loss scaling
def test_in_half_precision_too(tmp_path: Path, precision: str) -> None:
    whole = train(tmp_path / "whole", precision=precision)
    with pytest.raises(Killed):
        train(tmp_path / "killed", die_after=8, precision=precision)
    assert train(tmp_path / "killed", precision=precision) == whole


def test_it_ends_with_the_moving_average_of_its_steps_weights(tmp_path: Path) -> None:
    steps: list = []
    weights, history = train(tmp_path, patience=0, schedule="constant", ema=0.9, weights_of_steps=steps)
    assert len(steps) == STEPS * EPOCHS
    averages = steps[0]
    for step in steps[1:]:
        averages = [0.9 * average + 0.1 * weight for average, weight in zip(averages, step, strict=True)]
    shapes = [(average.shape, average.dtype) for average in averages]
    ended = [np.frombuffer(w, d).reshape(s) for w, (s, d) in zip(weights, shapes, strict=True)]
    names = [variable.path for variable in network().weights]
    for name, value, average, last in zip(names, ended, averages, steps[-1], strict=True):
        statistics = "moving" in name  # of BatchNorm, which are averages already
        np.testing.assert_allclose(value, last if statistics else average, rtol=1e-4, atol=1e-6, err_msg=name)
    _, plain = train(tmp_path / "plain", patience=0, schedule="constant")
    assert [entry["loss"] for entry in history] == [entry["loss"] for entry in plain], "it trains as without"
    assert all(a["val_loss"] != b["val_loss"] for a, b in zip(history, plain, strict=True)), "and validates the average"


@pytest.mark.parametrize("moment", [5, *(pytest.param(n, marks=pytest.mark.slow) for n in (9, 12, 20))])
@pytest.mark.parametrize("patience", [3, pytest.param(0, marks=pytest.mark.slow)])
def test_with_a_moving_average_too_a_killed_fit_ends_as_if_it_had_not_been(
    tmp_path: Path, moment: int, patience: int
) -> None:
    whole = train(tmp_path / "whole", ema=0.9, patience=patience)
    with pytest.raises(Killed):
        train(tmp_path / "killed", die_after=moment, ema=0.9, patience=patience)
    assert train(tmp_path / "killed", ema=0.9, patience=patience) == whole


def test_a_finished_fit_is_not_trained_again(tmp_path: Path, whole) -> None:
    train(tmp_path)
    epochs = []
    assert train(tmp_path, on_epoch=epochs.append) == whole
    assert epochs == []


@pytest.mark.parametrize(("number", "ema"), [(signal.SIGINT, None), (signal.SIGTERM, None), (signal.SIGINT, 0.9)])
def test_a_stop_in_validation_is_saved_before_it_acts(
    tmp_path: Path, whole, number: int, ema: float | None, monkeypatch
) -> None:
    from thaw.training.callbacks import ValidationCallback

    evaluate, stops = ValidationCallback._evaluate, []

    def judge(self, inputs, targets):
        if not stops:
            stops.append(signal.raise_signal(number))
        return evaluate(self, inputs, targets)

    def terminate(number, frame) -> None:
        raise SystemExit(143)

    monkeypatch.setattr(ValidationCallback, "_evaluate", judge)
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit):
            train(tmp_path, ema=ema)
    finally:
        signal.signal(signal.SIGTERM, before)
    checkpoint = CheckpointDir(tmp_path, 2, "run").load_newest()
    assert isinstance(checkpoint, Checkpoint)
    assert checkpoint.progress == TrainingProgress(0, 0, STEPS)
    expected = whole if ema is None else train(tmp_path / "whole", ema=ema)
    assert train(tmp_path, ema=ema) == expected


def test_a_second_stop_does_not_wait(tmp_path: Path) -> None:
    def twice(entry) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the second one was to raise")

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, on_epoch=twice)
    checkpoint = CheckpointDir(tmp_path, 2, "run").load_newest()
    assert checkpoint is not None
    assert checkpoint.progress == TrainingProgress(0, 0, STEPS)


def test_weights_that_are_no_numbers_are_not_saved_over_good_ones(tmp_path: Path, monkeypatch) -> None:
    from thaw.training import callbacks

    monkeypatch.setattr(callbacks.optimizers, "scheduled_learning_rate", lambda *_: float("inf"))
    with pytest.raises(callbacks.Diverged, match="Lower the learning rate"):
        train(tmp_path, schedule="cosine")
    checkpoint = CheckpointDir(tmp_path, 2, "run").load_newest()
    assert checkpoint is None or all(np.isfinite(a).all() for a in checkpoint.arrays.values() if a.dtype.kind == "f")

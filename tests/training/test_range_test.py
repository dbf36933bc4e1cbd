"""The range test on a small network: it leaves nothing behind, and tells what steps of each rate do."""

import numpy as np
import pytest

from tests.training.test_fit import STEPS, Noise
from thaw.common import tensorflow_setup
from thaw.config.schema import HeadConfig, OptimizerConfig, TrainConfig
from thaw.training import rate_choice
from thaw.training.rate_choice import RATES
from thaw.training.recipes import TrainingStage


class Batches(Noise):
    """Of an epoch, which tell their rows."""

    def rows(self, epoch: int, i: int):
        return np.arange(8)


def network(*, batchnorm: bool):
    import keras

    keras.utils.set_random_seed(0)
    images = keras.Input((6, 6, 2))
    x = keras.layers.Dense(64, activation="relu")(keras.layers.Flatten()(images))
    if batchnorm:
        x = keras.layers.BatchNormalization(momentum=0.5)(x)
    x = keras.layers.Dropout(0.4)(x)
    return keras.Model(images, keras.layers.Dense(3, activation="softmax", name="predictions")(x))


def outcome(optimizer: OptimizerConfig, *, batchnorm: bool = False):
    """Return a test's result, the model's variables before and after it, and the model with its inputs."""
    from thaw.training.fit import FitInputs
    from thaw.training.range_test import run_range_test

    tensorflow_setup.start_tensorflow(0, deterministic=True)
    model = network(batchnorm=batchnorm)
    stage = TrainingStage(0, "stage", "none", "trainable" if batchnorm else "frozen", 3, 0, optimizer)
    inputs = FitInputs(
        train=Batches(STEPS), val=Batches(3), images=8 * STEPS, class_weight=None, train_config=TrainConfig(),
        head=HeadConfig(), seed=7,
    )  # fmt: skip
    variables = list(model.variables)
    before = [np.array(variable) for variable in variables]
    return run_range_test(model, stage, inputs), before, [np.array(v) for v in variables], model, inputs


MOMENTUM = OptimizerConfig(name="sgd", momentum=0.9, ema=0.9)


@pytest.fixture(scope="module")
def result():
    return outcome(MOMENTUM)


def test_weights_and_random_counters_are_as_before(result) -> None:
    test, before, after, *_ = result
    assert len(test.changes) > 20, "it trained"
    assert len(before) == 5, "two layers, and dropout's counter"
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new, old)


def test_batchnorm_statistics_are_as_before_and_do_not_count_as_learning() -> None:
    test, before, after, *_ = outcome(OptimizerConfig(name="sgd"), batchnorm=True)
    assert len(before) == 9
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new, old)
    assert abs(np.mean(test.changes[:10])) < 0.2, "dropout alone: moving statistics change the loss by 1"


def test_the_first_change_is_zero_and_the_loss_falls_before_it_rises(result) -> None:
    test = result[0]
    assert test.rates == RATES[: len(test.rates)]
    assert test.changes[0] == 0
    assert test.changes[1:6] == pytest.approx([0] * 5, abs=1e-3)
    assert min(test.trend) < -0.05
    assert 0 < test.lowest < test.risen


def test_two_tests_are_the_same_to_the_last_bit(result) -> None:
    assert outcome(MOMENTUM)[0] == result[0]


def test_the_loss_is_the_networks_without_dropout(result) -> None:
    test, _, _, model, inputs = result
    losses = []
    for i in range(len(RATES)):
        (images,), targets = inputs.train.batch(i // STEPS, i % STEPS)
        answers = model(images, training=False).numpy()
        losses.append(-np.mean(np.sum(np.log(answers) * targets, axis=1)))
    assert test.loss == pytest.approx(np.mean(losses), rel=1e-4)


def test_adam_whose_steps_are_as_long_as_the_rate_gets_a_smaller_one(result) -> None:
    adam = outcome(OptimizerConfig(name="adam"))[0]
    assert 0 < rate_choice.suggest(adam, "stage", "adam") < rate_choice.suggest(result[0], "stage", "sgd")

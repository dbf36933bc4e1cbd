"""The verdict on two runs' figures."""

import dataclasses
import math

import pytest

from thaw.reproduce.comparison import DIFFERENT, IDENTICAL, WITHIN_TOLERANCE, Mismatch, RunOutcome, compare
from thaw.reproduce.verdict_report import verdict_line

EPOCH = {"learning_rate": 1e-3, "loss": 0.5, "accuracy": 0.75, "val_loss": 0.6, "val_accuracy": 0.5}
RUN = RunOutcome(
    data_sha256="d",
    initial_sha256="i",
    weights_sha256="w",
    epochs={1: EPOCH, 2: {**EPOCH, "loss": 0.25}},
    final={"val/loss": 0.6, "test/loss": 0.7, "val/accuracy": 0.5, "test/accuracy": 0.5, "test/class/a/f1": 0.4},
)


def changed(**fields):
    return dataclasses.replace(RUN, **fields)


def epoch(number, **figures):
    return changed(epochs={**RUN.epochs, number: {**RUN.epochs[number], **figures}})


def final(**figures):
    return changed(final={**RUN.final, **{name.replace("_", "/", 1): value for name, value in figures.items()}})


@pytest.mark.parametrize(
    ("now", "first", "expected"),
    [
        (RUN, None, IDENTICAL),
        # One bit is one bit.
        (epoch(2, loss=math.nextafter(0.25, 1)), Mismatch("loss", 0.25, math.nextafter(0.25, 1), 2), WITHIN_TOLERANCE),
        (epoch(1, val_loss=0.602), Mismatch("val_loss", 0.6, 0.602, 1), DIFFERENT),
        (final(val_accuracy=0.5005), Mismatch("val/accuracy", 0.5, 0.5005), WITHIN_TOLERANCE),
        (final(test_accuracy=0.51), Mismatch("test/accuracy", 0.5, 0.51), DIFFERENT),
        # Hashes say that something differs, not how much: the figures do.
        (changed(weights_sha256="x"), Mismatch("weights", "w", "x"), WITHIN_TOLERANCE),
        # A class's figures jump when one image changes sides.
        (final(**{"test_class/a/f1": 0.9}), Mismatch("test/class/a/f1", 0.4, 0.9), WITHIN_TOLERANCE),
        # Earlier versions logged the figures of each class, however many there are.
        (changed(final={k: v for k, v in RUN.final.items() if "/class/" not in k}), None, IDENTICAL),
        (final(**{"test_class/b/f1": 0.9}), None, IDENTICAL),
        # What only one of them has is no small difference.
        (changed(epochs={1: EPOCH}), Mismatch("learning_rate", 1e-3, None, 2), DIFFERENT),
        (changed(epochs={**RUN.epochs, 3: EPOCH}), Mismatch("learning_rate", None, 1e-3, 3), DIFFERENT),
        (epoch(1, val_loss=math.nan), Mismatch("val_loss", 0.6, math.nan, 1), DIFFERENT),
    ],
)
def test_the_verdict_and_where_the_runs_part(now, first, expected):
    comparison = compare(RUN, now, 1e-3)
    assert comparison.verdict == expected
    assert comparison.exit_code == {IDENTICAL: 0, WITHIN_TOLERANCE: 2, DIFFERENT: 3}[expected]
    assert repr(comparison.mismatches[0] if comparison.mismatches else None) == repr(first)  # NaN is not NaN


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"data_sha256": "x"}, "the data changed since the run"),
        ({"initial_sha256": "x"}, "the initial weights changed since the run"),
        ({"data_sha256": "x", "initial_sha256": "y"}, "the data and the initial weights changed since the run"),
        ({"data_sha256": None}, "the data changed since the run"),
    ],
)
def test_from_other_data_or_initial_weights_no_figures_are_close_enough(other, sentence):
    comparison = compare(RUN, changed(**other), tolerance=1e9)
    assert (comparison.verdict, comparison.exit_code, comparison.largest_difference) == (DIFFERENT, 3, 0)
    assert verdict_line(comparison).startswith(f"different: {sentence}")


def test_a_run_that_recorded_no_hash_of_its_data_is_compared_by_its_figures():
    assert compare(changed(data_sha256=None), RUN, 1e-3).verdict == IDENTICAL


def test_the_first_figure_is_the_first_that_training_comes_to():
    now = dataclasses.replace(epoch(2, loss=0.3, val_loss=0.8), weights_sha256="x", final={**RUN.final, "test/loss": 1})
    comparison = compare(RUN, now, 1e-3)
    assert [(p.epoch, p.quantity) for p in comparison.mismatches] == [
        (2, "loss"), (2, "val_loss"), (0, "test/loss"), (0, "weights"),
    ]  # fmt: skip
    assert comparison.largest_difference == pytest.approx(0.3)
    assert "part in loss of epoch 2" in verdict_line(comparison)


def test_where_rounding_becomes_a_difference_is_said_too():
    now = dataclasses.replace(epoch(1, loss=0.5 + 1e-7), epochs={1: {**EPOCH, "loss": 0.5 + 1e-7}, 2: EPOCH})
    sentence = verdict_line(compare(RUN, now, 1e-3))
    assert "part in loss of epoch 1, and by more than 0.001 in loss of epoch 2; " in sentence


def test_the_bound_itself_is_within():
    assert compare(RUN, final(test_accuracy=0.75), 0.25).verdict == WITHIN_TOLERANCE
    assert compare(RUN, final(test_accuracy=0.7500001), 0.25).verdict == DIFFERENT


def test_nan_is_what_it_was():
    nan = epoch(1, val_loss=math.nan)
    assert compare(nan, nan, 0).verdict == IDENTICAL


def test_weights_alone_are_named():
    sentence = verdict_line(compare(RUN, changed(weights_sha256="x"), 1e-3))
    assert sentence.startswith("same within tolerance")
    assert "part in the final weights only: all figures are equal" in sentence


def test_a_run_that_was_stopped_is_held_against_what_it_has():
    stopped = RunOutcome("d", "i", None, {1: EPOCH}, {}, finished=False)
    comparison = compare(stopped, RUN, 1e-3)
    assert (comparison.verdict, comparison.complete) == (IDENTICAL, False)
    assert "as far as the run went" in verdict_line(comparison)
    other = dataclasses.replace(stopped, epochs={1: {**EPOCH, "loss": 0.51}})
    assert compare(other, RUN, 1e-3).verdict == DIFFERENT

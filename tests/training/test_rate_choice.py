"""The rate that a range test's losses suggest."""

import re

import numpy as np
import pytest
import yaml

from tests.conftest import ROOT
from thaw.common.errors import UserError
from thaw.training import rate_choice
from thaw.training.rate_choice import RATES, RangeTest


def changes(lowest: float, risen: float, noise: float = 0.0) -> tuple[float, ...]:
    """A loss that falls by 1 up to a rate, and has lost it all at another, in logarithms."""
    x = np.log(RATES)
    curve = np.interp(x, [x[0], np.log(lowest), np.log(risen), x[-1]], [0.0, -1.0, 0.0, 5.0])
    return tuple(curve + noise * np.random.default_rng(0).normal(size=len(x)) * np.abs(curve))


@pytest.mark.parametrize(
    ("lowest", "risen", "suggested"),
    [(5e-4, 4e-3, 1e-3), (1e-5, 3e-4, 2e-5), (3e-3, 0.025, 5e-3), (1e-3, 1.2e-3, 1e-3)],
)
@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_it_is_twice_that_of_the_lowest_loss_and_at_most_where_the_gain_is_lost(
    lowest: float, risen: float, suggested: float, noise: float
) -> None:
    test = RangeTest(RATES, changes(lowest, risen, noise), 0.5, 10)
    assert 1 / 2.1 < rate_choice.suggest(test, "thaw", "sgd") / suggested < 2.1, (
        "one digit of 1, 2, 3, 5 to either side"
    )


def test_with_adam_it_is_five_times_that_of_the_lowest_loss_wherever_the_gain_is_lost() -> None:
    for risen in (1.6e-4, 1e-3):
        test = RangeTest(RATES, changes(1e-4, risen), 0.5, 10)
        found = rate_choice.suggest(test, "thaw", "adamw")
        assert found == rate_choice.rounded(5 * test.rates[test.lowest]) >= 3e-4
        assert rate_choice.suggest(test, "thaw", "sgd") <= 2e-4


@pytest.mark.parametrize(
    "losses", [tuple(0.005 * change for change in changes(1e-5, 3e-5)), tuple(np.linspace(0, 3, len(RATES)))]
)
def test_a_fall_within_chance_tells_nothing_and_adam_takes_the_usual_rate(losses: tuple[float, ...]) -> None:
    usual = yaml.safe_load((ROOT / "conf" / "optimizer" / "adamw.yaml").read_text())["learning_rate"]
    test = RangeTest(RATES, losses, 1.1, 10)
    assert rate_choice.suggest(test, "thaw", "adamw") == float(usual)
    said = rate_choice.summary(test, "adamw", 6e-4)
    assert re.search(r"falls by 0\.[045] % at most, which tells nothing · learning rate 0\.0006, the usual one", said)
    larger = RangeTest(RATES, changes(1e-5, 3e-5), 1.1, 10)
    assert rate_choice.suggest(larger, "thaw", "adamw") <= 5e-5
    assert "is lowest at" in rate_choice.summary(larger, "adamw", 5e-5)


def test_of_an_untrained_network_it_is_a_tenth() -> None:
    """Whose loss is that of guessing one of ten classes, 2.3."""
    test = RangeTest(RATES, changes(5e-4, 1.9e-3), 2.4, 10)
    assert rate_choice.suggest(test, "head", "sgd") == 2e-4


@pytest.mark.parametrize(("smoothing", "untrained"), [(0.0, True), (0.1, False)])
def test_smoothed_targets_do_not_make_a_network_untrained(smoothing: float, untrained: bool) -> None:
    """Of ten classes their loss is at least 0.50, and that of guessing stays 2.30."""
    assert RangeTest(RATES, changes(1e-3, 1e-2), 1.2, 10, smoothing).untrained is untrained


def test_a_single_batch_that_rises_is_no_end() -> None:
    test = RangeTest(RATES, changes(1e-3, 1e-2), 0.5, 10)
    outlier = list(test.changes)
    outlier[RATES.index(min(RATES, key=lambda rate: abs(rate - 3e-3)))] = 9.0
    assert RangeTest(RATES, tuple(outlier), 0.5, 10).risen == test.risen
    assert rate_choice.suggest(RangeTest(RATES, tuple(outlier), 0.5, 10), "thaw", "sgd") == rate_choice.suggest(
        test, "thaw", "sgd"
    )


def test_a_loss_that_falls_at_no_rate_is_an_error_that_names_the_stage() -> None:
    with pytest.raises(UserError, match=r"range test of stage head finds no learning rate: its loss, 0.5 at first"):
        rate_choice.suggest(RangeTest(RATES, tuple(np.linspace(0, 3, len(RATES))), 0.5, 10), "head", "sgd")


def test_a_loss_that_never_rises_gives_the_last_rate() -> None:
    assert rate_choice.suggest(RangeTest(RATES, tuple(np.linspace(0, -1, len(RATES))), 0.5, 10), "head", "sgd") == 1.0


def test_the_test_ends_when_five_batches_are_above_the_first_loss() -> None:
    assert not rate_choice.has_risen([0.0, -1.0, 0.5, 0.5, 0.5, 0.5], 2.0)
    assert not rate_choice.has_risen([0.0, -1.0, 0.5, 0.5, 0.5, 0.5, 0.1], 2.0)
    assert rate_choice.has_risen([0.0, -1.0, 0.5, 0.5, 0.5, 0.5, 0.3], 2.0)
    assert rate_choice.has_risen([0.0, float("nan")], 2.0)


@pytest.mark.parametrize(
    ("rate", "expected"), [(1.0, 1.0), (8e-4, 1e-3), (1.3e-3, 1e-3), (1.6e-3, 2e-3), (4e-3, 5e-3), (2.6e-5, 3e-5)]
)
def test_a_rate_has_one_digit(rate: float, expected: float) -> None:
    assert rate_choice.rounded(rate) == expected

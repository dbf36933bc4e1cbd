"""A learning rate from the losses of a range test. No TensorFlow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thaw.common.errors import UserError

RATES = tuple(float(rate) for rate in np.geomspace(1e-6, 1.0, 61))  # of the test's steps, ten to each power of ten
_AROUND = 2  # steps before and after one whose median is its trend
_RISEN = (
    0.1  # the test ends when the loss is by this share of the first loss above it, for as many steps as a trend has
)
_OF_UNTRAINED = 0.1
_OF_LOWEST = 2.0
# Of optimizers that divide by the gradient's size. Their first steps are the longest, and a warm-up is not in the test:
# with AdamW EfficientNet-Lite0 trains well at 3e-4 and 6e-4 on five data sets, where the loss is lowest at 5e-5 to
# 1.3e-4. Adam and RMSprop were not measured behind thawed layers.
_OF_LOWEST_ADAPTIVE, _ADAPTIVE = 5.0, ("adam", "adamw", "rmsprop")
# A fall of less than this share of the loss is chance: behind a head that is solved for, first steps may only disturb,
# though a whole stage gains. MobileNet 0.25 at 96 pixels on CIFAR-10: a fall of 0.6 %, lowest at 1.3e-5; test accuracy
# .692 at five times that, .700 at 1e-4, .715 at 3e-4, .727 at 6e-4. EfficientNet-Lite0's falls are of 4 to 22 %.
_CHANCE = 0.01
_USUAL_ADAPTIVE = 6e-4  # conf/optimizer/adamw.yaml
_ROUND = (1.0, 2.0, 3.0, 5.0)  # digits of a suggested rate: the test tells no finer, and another machine finds the same


@dataclass(frozen=True)
class RangeTest:
    """What the rates of a test made of the loss.

    rates: of the steps, rising. changes: of the loss of each step's batch before the step, against the weights of the
    stage's beginning; the first is 0. loss: under these, the mean of the batches. classes: that are told apart.
    smoothing: the share of the targets that is spread over all classes, which no network can bring the loss below.
    """

    rates: tuple[float, ...]
    changes: tuple[float, ...]
    loss: float
    classes: int
    smoothing: float = 0.0

    @property
    def untrained(self) -> bool:
        """Whether the stage begins nearer to the loss of guessing than to the lowest that there is."""
        other = self.smoothing / self.classes
        least = -sum(
            share * math.log(share) for share in [1 - self.smoothing + other, *[other] * (self.classes - 1)] if share
        )
        return self.loss > (math.log(self.classes) + least) / 2

    @property
    def trend(self) -> list[float]:
        """The changes without single steps' outliers: medians of five."""
        changes = np.asarray(self.changes)
        return [float(np.median(changes[max(0, i - _AROUND) : i + _AROUND + 1])) for i in range(len(changes))]

    @property
    def lowest(self) -> int:
        """The step before which the loss was lowest, by its trend."""
        return int(np.argmin(self.trend))

    @property
    def risen(self) -> int:
        """The step from which on the loss has lost all that it had gained, by its trend; the last one if it has not."""
        trend = self.trend
        return min(len(trend) - 1, 1 + max(i for i in range(len(trend)) if trend[i] <= 0))


def tells_nothing(test: RangeTest, optimizer: str) -> bool:
    """Whether the loss of a trained network falls by no more than chance, with an optimizer that has a usual rate."""
    fall = -test.trend[test.lowest]
    return optimizer in _ADAPTIVE and not test.untrained and fall < _CHANCE * test.loss


def has_risen(changes: Sequence[float], loss: float) -> bool:
    """Return whether a test can end: its last changes of the loss say that the steps are too long by now."""
    if not math.isfinite(changes[-1]):
        return True
    last = changes[-2 * _AROUND - 1 :]
    return len(last) > 2 * _AROUND and min(last) > _RISEN * loss


def suggest(test: RangeTest, stage: str, optimizer: str) -> float:
    """Return the peak rate that a test suggests, with one digit.

    Twice that of the lowest loss, as a whole stage bears more than the few steps of a test; at most that at which the
    loss is back at what it was at first. With Adam and its like five times that of the lowest loss, and 6e-4, AdamW's
    default, where the loss falls by less than a hundredth: the test tells nothing then. Of an untrained
    network it is a tenth of the rate at which the loss is back: there, the first loss is chance, and the lowest one
    comes late. Measured on EfficientNet-Lite0: see docs/how-to/learning-rate.md.

    Args:
        test: what the rates made of the loss.
        stage: its name, for the error.
        optimizer: its name, as `optimizer.name` has it.

    Raises:
        UserError: the loss fell at no rate.
    """
    if tells_nothing(test, optimizer):
        return _USUAL_ADAPTIVE
    if test.trend[test.lowest] >= 0:
        raise UserError(
            f"the range test of stage {stage} finds no learning rate: its loss, {test.loss:.3g} at first, falls at no "
            f"rate from {test.rates[0]:g} to {test.rates[-1]:.2g}. Set a rate"
        )
    back, lowest = test.rates[test.risen], test.rates[test.lowest]
    if test.untrained:
        return rounded(_OF_UNTRAINED * back)
    return rounded(_OF_LOWEST_ADAPTIVE * lowest if optimizer in _ADAPTIVE else min(back, _OF_LOWEST * lowest))


def rounded(rate: float) -> float:
    """Return the nearest rate, in the logarithm, with a single digit of 1, 2, 3, 5."""
    exponent = math.floor(math.log10(rate))
    candidates = [float(f"{digit:g}e{exponent + up}") for up in (0, 1) for digit in _ROUND]
    return min(candidates, key=lambda candidate: abs(math.log(candidate / rate)))


def summary(test: RangeTest, optimizer: str, rate: float) -> str:
    """Return the printed line on a test, with the rate that it suggests."""
    if tells_nothing(test, optimizer):
        fall = max(0.0, -test.trend[test.lowest]) / test.loss
        return (
            f"range test: the loss, {test.loss:.3g} at first, falls by {100 * fall:.1f} % at most, which tells nothing"
            f" · learning rate {rate:g}, the usual one"
        )
    tenth = ", of which an untrained network takes a tenth" if test.untrained else ""
    return (
        f"range test: the loss, {test.loss:.3g} at first, is lowest at {test.rates[test.lowest]:.1e} and back at "
        f"{test.rates[test.risen]:.1e}{tenth} · learning rate {rate:g}"
    )

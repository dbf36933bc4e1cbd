"""Comparison of a run's outcome with its rerun's, and the verdict. Without TensorFlow and without the store."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

IDENTICAL, WITHIN_TOLERANCE, DIFFERENT = "identical", "same within tolerance", "different"
EXIT_CODES = {IDENTICAL: 0, WITHIN_TOLERANCE: 2, DIFFERENT: 3}
# The tolerance applies to what training minimizes and to what a run is judged by.
_EPOCH_LOSSES = ("loss", "val_loss")
_FINAL_METRICS = ("val/loss", "test/loss", "val/accuracy", "test/accuracy")
# With other data or initial weights it is another run, however close its metrics are.
_INPUTS = {"data": "the data", "initial weights": "the initial weights"}

FigureValue = float | str | None


@dataclass(frozen=True)
class RunOutcome:
    """What two runs are compared by; a hash is None where the run does not have it.

    data_sha256: of names, content, classes and splits. initial_sha256: of the backbone's weights before training.
    weights_sha256: of the final weights. epochs: metrics by name, of each epoch, which are counted over all stages.
    final: the metrics of validation and test. finished: whether the run came to its end.
    """

    data_sha256: str | None
    initial_sha256: str | None
    weights_sha256: str | None
    epochs: Mapping[int, Mapping[str, float]]
    final: Mapping[str, float]
    finished: bool = True


@dataclass(frozen=True)
class Mismatch:
    """A quantity that is not equal to the last bit; None in the run that does not have it. epoch: 0 for a final one."""

    quantity: str
    original: FigureValue
    rerun: FigureValue
    epoch: int = 0

    @property
    def difference(self) -> float | None:
        """The absolute difference of numbers, infinite when one is missing or not finite; None for hashes."""
        if isinstance(self.original, str) or isinstance(self.rerun, str):
            return None
        if self.original is None or self.rerun is None:
            return math.inf
        difference = abs(self.rerun - self.original)
        return difference if math.isfinite(difference) else math.inf

    @property
    def tolerance_applies(self) -> bool:
        """Whether a difference within the tolerance is allowed."""
        return self.quantity in (_EPOCH_LOSSES if self.epoch else _FINAL_METRICS)

    @property
    def name(self) -> str:
        """The quantity in words, as in `loss of epoch 3`."""
        if self.epoch:
            return f"{self.quantity} of epoch {self.epoch}"
        return {**_INPUTS, "weights": "the final weights"}.get(self.quantity, self.quantity)


@dataclass(frozen=True)
class Comparison:
    """The verdict and its reasons.

    mismatches: in the order in which a run computes them. largest_difference: of the quantities that the tolerance
    applies to. epochs: how many were compared. complete: whether the original run finished and has the hash of its
    final weights; otherwise the verdict is on what it has.
    """

    verdict: str
    mismatches: tuple[Mismatch, ...]
    largest_difference: float
    tolerance: float
    epochs: int
    complete: bool

    @property
    def first_over_tolerance(self) -> Mismatch | None:
        """The first mismatch whose difference exceeds the tolerance."""
        over = (m for m in self.mismatches if m.tolerance_applies and (m.difference or 0.0) > self.tolerance)
        return next(over, None)

    @property
    def changed_inputs(self) -> list[str]:
        """Which of the data and the initial weights the rerun had other ones of."""
        return [m.name for m in self.mismatches if m.quantity in _INPUTS]

    @property
    def exit_code(self) -> int:
        """The exit code of the verdict."""
        return EXIT_CODES[self.verdict]


def compare(original: RunOutcome, rerun: RunOutcome, tolerance: float) -> Comparison:
    """Compare a run with its rerun; of a run that did not finish, only what it has.

    `tolerance` is the largest absolute difference of the epochs' losses, and of the final losses and accuracies, that
    still counts as the same. Other metrics follow from the predictions, and jump when a single image changes sides.
    With other data or initial weights than the run's, the verdict is always `different`.
    """
    mismatches = tuple(_mismatches(original, rerun))
    largest = max((m.difference or 0.0 for m in mismatches if m.tolerance_applies), default=0.0)
    inputs_changed = any(m.quantity in _INPUTS for m in mismatches)
    verdict = WITHIN_TOLERANCE if largest <= tolerance and not inputs_changed else DIFFERENT
    complete = original.finished and original.weights_sha256 is not None
    return Comparison(
        verdict if mismatches else IDENTICAL, mismatches, largest, tolerance, len(original.epochs), complete
    )


def _mismatches(original: RunOutcome, rerun: RunOutcome) -> Iterator[Mismatch]:
    yield from _hash_mismatch("data", original.data_sha256, rerun.data_sha256)
    yield from _hash_mismatch("initial weights", original.initial_sha256, rerun.initial_sha256)
    for epoch in sorted(original.epochs.keys() | (rerun.epochs.keys() if original.finished else set())):
        yield from _metric_mismatches(original.epochs.get(epoch, {}), rerun.epochs.get(epoch, {}), epoch)
    yield from _metric_mismatches(*_comparable(original, rerun))
    yield from _hash_mismatch("weights", original.weights_sha256, rerun.weights_sha256)


def _comparable(original: RunOutcome, rerun: RunOutcome) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Return the final metrics of both runs that are compared.

    Of an unfinished run, only those that it has. The figures of single classes, only where both have them: earlier
    versions logged those of any number of classes.
    """

    def compared(name: str) -> bool:
        if "/class/" in name:
            return name in original.final and name in rerun.final
        return original.finished or name in original.final

    return (
        {name: value for name, value in original.final.items() if compared(name)},
        {name: value for name, value in rerun.final.items() if compared(name)},
    )


def _metric_mismatches(original: Mapping[str, float], rerun: Mapping[str, float], epoch: int = 0) -> Iterator[Mismatch]:
    for name in {**original, **rerun}:
        a, b = original.get(name), rerun.get(name)
        both_nan = a is not None and b is not None and math.isnan(a) and math.isnan(b)
        if a != b and not both_nan:
            yield Mismatch(name, a, b, epoch)


def _hash_mismatch(quantity: str, original: str | None, rerun: str | None) -> Iterator[Mismatch]:
    if original is not None and original != rerun:
        yield Mismatch(quantity, original, rerun)

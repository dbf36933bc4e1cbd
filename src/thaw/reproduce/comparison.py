"""Two runs' figures, one against the other, and the verdict. No TensorFlow, no store."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

EPOCH_PREFIX = "epoch/"  # of the names of an epoch's figures in the store
IDENTICAL, WITHIN_TOLERANCE, DIFFERENT = "identical", "same within tolerance", "different"
EXIT_CODES = {IDENTICAL: 0, WITHIN_TOLERANCE: 2, DIFFERENT: 3}
# What the tolerance holds for: what training minimizes, and what a run is judged by.
_LOSSES = ("loss", "val_loss")
_JUDGED = ("val/loss", "test/loss", "val/accuracy", "test/accuracy")
# What a run begins with: from other data or weights it is another run, however close its figures are.
_INPUTS = {"data": "the data", "initial weights": "the initial weights"}

FigureValue = float | str | None


@dataclass(frozen=True)
class RunOutcome:
    """What a run came to; None for a hash that it does not have.

    data_sha256: of names, content, classes and splits. initial_sha256: of the backbone's weights before training.
    weights_sha256: of the final ones. epochs: figures by name, by the epoch counted on over all stages. final: the
    metrics of validation and test. finished: whether the run came to its end.
    """

    data_sha256: str | None
    initial_sha256: str | None
    weights_sha256: str | None
    epochs: Mapping[int, Mapping[str, float]]
    final: Mapping[str, float]
    finished: bool = True


@dataclass(frozen=True)
class Mismatch:
    """A figure that is not the same to the last bit; None where one of the runs does not have it. epoch: 0 for none."""

    quantity: str
    original: FigureValue
    rerun: FigureValue
    epoch: int = 0

    @property
    def difference(self) -> float | None:
        """The absolute difference of numbers; infinite when one of them is missing or no finite number."""
        if isinstance(self.original, str) or isinstance(self.rerun, str):
            return None
        if self.original is None or self.rerun is None:
            return math.inf
        apart = abs(self.rerun - self.original)
        return apart if math.isfinite(apart) else math.inf

    @property
    def tolerance_applies(self) -> bool:
        """Whether the tolerance holds for it."""
        return self.quantity in (_LOSSES if self.epoch else _JUDGED)

    @property
    def name(self) -> str:
        if self.epoch:
            return f"{self.quantity} of epoch {self.epoch}"
        return {**_INPUTS, "weights": "the final weights"}.get(self.quantity, self.quantity)


@dataclass(frozen=True)
class Comparison:
    """The verdict and what it rests on.

    partings: every figure that differs, in the order in which a run comes to it. largest: absolute difference of what
    the tolerance holds for. epochs: those that were compared. whole: the run had come to its end, and knew the hash of
    its weights; otherwise the verdict is on what there is.
    """

    verdict: str
    mismatches: tuple[Mismatch, ...]
    largest_difference: float
    tolerance: float
    epochs: int
    complete: bool

    @property
    def first_over_tolerance(self) -> Mismatch | None:
        """The first of them by which the tolerance is exceeded."""
        return next(
            (p for p in self.mismatches if p.tolerance_applies and (p.difference or 0.0) > self.tolerance), None
        )

    @property
    def changed_inputs(self) -> list[str]:
        """What the rerun began with that the run did not: the data, the initial weights, or neither."""
        return [p.name for p in self.mismatches if p.quantity in _INPUTS]

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]


def compare(original: RunOutcome, rerun: RunOutcome, tolerance: float) -> Comparison:
    """Compare what the run came to with what the rerun came to.

    Of a run that did not finish only what it has is compared: the rerun goes on where it stopped. tolerance: the
    largest absolute difference of every epoch's losses, and of the final losses and accuracies of validation and test,
    that still is the same; other figures follow from the predictions, and jump when a single image changes sides. It
    holds for a rerun from the same data and initial weights: from others the verdict is always `different`.
    """
    partings = tuple(_partings(original, rerun))
    largest = max((p.difference or 0.0 for p in partings if p.tolerance_applies), default=0.0)
    others = any(p.quantity in _INPUTS for p in partings)
    verdict = WITHIN_TOLERANCE if largest <= tolerance and not others else DIFFERENT
    whole = original.finished and original.weights_sha256 is not None
    return Comparison(verdict if partings else IDENTICAL, partings, largest, tolerance, len(original.epochs), whole)


def _partings(before: RunOutcome, now: RunOutcome) -> Iterator[Mismatch]:
    yield from _hash("data", before.data_sha256, now.data_sha256)
    yield from _hash("initial weights", before.initial_sha256, now.initial_sha256)
    epochs = sorted(before.epochs.keys() | now.epochs.keys() if before.finished else before.epochs.keys())
    for epoch in epochs:
        old, new = before.epochs.get(epoch, {}), now.epochs.get(epoch, {})
        for name in {**old, **new}:
            if not _same(old.get(name), new.get(name)):
                yield Mismatch(name, old.get(name), new.get(name), epoch)
    for name in {**before.final, **now.final} if before.finished else before.final:
        if not _same(before.final.get(name), now.final.get(name)):
            yield Mismatch(name, before.final.get(name), now.final.get(name))
    yield from _hash("weights", before.weights_sha256, now.weights_sha256)


def _hash(what: str, before: str | None, now: str | None) -> Iterator[Mismatch]:
    if before is not None and before != now:
        yield Mismatch(what, before, now)


def _same(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return a == b or (math.isnan(a) and math.isnan(b))

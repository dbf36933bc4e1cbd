"""Whether an export answers as the kept network does, on the run's test images."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.analysis.intervals import wilson
from thaw.common.console import printable, progress
from thaw.common.errors import UserError
from thaw.data.pixels import Pixels
from thaw.export.portable_network import Runtime
from thaw.results.parity import TIE_MARGIN, Parity, compare_probabilities

BATCH_SIZE = 32
WORST_IMAGES = 5  # that a refusal names
MIN_SPREAD = 1e-3  # of a class's probability over the images: below it the network answers all of them alike


@dataclass(frozen=True, eq=False)
class Agreement:
    """An export's probabilities beside those of the kept network, float32 (N, C) both; labels: int32 (N,)."""

    export: npt.NDArray[np.float32]
    network: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]

    @property
    def parity(self) -> Parity:
        """The comparison; near ties do not count as another class."""
        return compare_probabilities(self.export, self.network)

    @property
    def share(self) -> float:
        """The share of images with the same first class."""
        parity = self.parity
        return 1 - parity.differ / parity.images

    @property
    def is_blind(self) -> bool:
        """Whether the network gives all images nearly the same probabilities, so that no fault could be seen."""
        return len(self.network) > 1 and float(self.network.std(axis=0).max()) < MIN_SPREAD

    def figures(self) -> dict[str, Any]:
        """Return what export.json says of the comparison. Keys are not renamed."""
        return {
            "agreement": self.share,
            **asdict(self.parity),
            "mean_probability_difference": float(np.abs(self.export - self.network).mean()),
            "accuracy_network": _accuracy(self.network, self.labels),
            "accuracy_export": _accuracy(self.export, self.labels),
        }

    def line(self) -> str:
        """Return the comparison as one printed line."""
        figures, parity = self.figures(), self.parity
        before, after = figures["accuracy_network"], figures["accuracy_export"]
        return (
            f"agreement {self.share:.4f}: {parity.images - parity.differ:,} of {parity.images:,} test images get the "
            f"same class · probabilities differ by at most {parity.max_probability_difference:.2g}, on average by "
            f"{figures['mean_probability_difference']:.2g} · accuracy {after['value']:.4f} ({after['low']:.4f} to "
            f"{after['high']:.4f}), the network's {before['value']:.4f} ({before['low']:.4f} to {before['high']:.4f})"
        )


def compare_export(
    export: Runtime, network: Runtime, pixels: Pixels, test: npt.NDArray[np.int64], labels: npt.NDArray[np.int32]
) -> Agreement:
    """Run both on the same images, catalog indices int64 (N,), and return their probabilities."""
    ours, theirs = [], []
    with progress("comparing", len(test)) as bar:
        for start in range(0, len(test), BATCH_SIZE):
            images = pixels.take(test[start : start + BATCH_SIZE])
            theirs.append(network(images))
            ours.append(np.asarray(export(images), np.float32))
            bar.advance(len(images))
    return Agreement(np.concatenate(ours), np.concatenate(theirs), labels)


@dataclass(frozen=True)
class Demand:
    """What is asked of an export: which it is, the share of images with the same class, and how close probabilities."""

    export: str
    agreement: float
    largest_difference: float


def check_agreement(found: Agreement, asked: Demand, names: Sequence[str], classes: Sequence[str]) -> None:
    """Raise UserError, which names the worst images, unless the export agrees as asked and is finite throughout."""
    what, parity = asked.export, found.parity if found.export.shape == found.network.shape else None
    if parity is None:
        raise UserError(f"{what} is refused: it gives {found.export.shape[1]} probabilities for {len(classes)} classes")
    lost = int((~np.isfinite(found.export)).any(axis=1).sum())
    if lost:
        raise UserError(
            f"{what} is refused: of {lost:,} of {len(names):,} test images its probabilities are not finite. Another "
            "precision, or another format, may do; nothing was kept"
        )
    if found.share < asked.agreement:
        raise UserError(
            f"{what} is refused, and nothing was kept: {parity.differ:,} of {len(names):,} test images get another "
            f"class than from the network, so the agreement is {found.share:.4f}, and agreement={asked.agreement:g} is "
            "asked. Export in another precision or format, or accept less. The worst:\n" + _worst(found, names, classes)
        )
    if parity.max_probability_difference > asked.largest_difference:
        raise UserError(
            f"{what} is refused, and nothing was kept: probabilities differ from the network's by up to "
            f"{parity.max_probability_difference:.3f}, which is no rounding (up to {asked.largest_difference:g} would "
            "be accepted): the export computes something else. The worst:\n" + _worst(found, names, classes)
        )


def _worst(found: Agreement, names: Sequence[str], classes: Sequence[str]) -> str:
    """Return a line for each of the worst images: of those with another class, or else of the furthest off."""
    rows = np.arange(len(names))
    ours, theirs = found.export.argmax(axis=1), found.network.argmax(axis=1)
    margins = found.network[rows, theirs] - found.network[rows, ours]
    margins = np.where(margins > TIE_MARGIN, margins, 0)
    if not margins.any():
        margins = np.abs(found.export - found.network).max(axis=1)
    order = np.argsort(-margins, kind="stable")[:WORST_IMAGES]
    return "\n".join(
        f"  {printable(names[i])}: {printable(classes[theirs[i]])} ({found.network[i, theirs[i]]:.3f}) by the network, "
        f"{printable(classes[ours[i]])} ({found.export[i, ours[i]]:.3f}) by the export"
        for i in order
        if margins[i] > 0
    )


def _accuracy(probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int32]) -> dict[str, float | None]:
    share = wilson(int((probabilities.argmax(axis=1) == labels).sum()), len(labels))
    return {"value": share.value, "low": share.low, "high": share.high}

"""The result of a part: the rows of its table, a note, and the curves of the plot."""

from dataclasses import dataclass, field
from typing import Literal

Curves = dict[str, list[tuple[float, float]]]  # name: points (x, seconds)
COLUMNS = ("what", "Keras", "thaw", "ratio", "target", "reached")


@dataclass(frozen=True)
class BenchmarkRow:
    """One comparison, medians over the repeats, as benchmark.json has it.

    Attributes:
        part: name of the part.
        what: what was measured.
        unit: of both figures.
        keras: None when there is nothing to compare with.
        thaw: thaw's figure.
        target: the least ratio; without Keras, what thaw must stay below; for an accuracy, the largest difference;
            None: there is none.
    """

    part: str
    what: str
    unit: Literal["images/s", "s", "accuracy", "MB"]
    keras: float | None
    thaw: float
    target: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times as fast, or as small, thaw is."""
        if self.unit == "accuracy" or not self.keras or not self.thaw:
            return None
        return self.thaw / self.keras if self.unit == "images/s" else self.keras / self.thaw

    @property
    def reached(self) -> bool | None:
        """Whether the target was reached; None without one."""
        if self.target is None:
            return None
        if self.unit == "accuracy":
            return self.keras is not None and abs(self.thaw - self.keras) <= self.target
        return self.thaw < self.target if self.ratio is None else self.ratio >= self.target

    def cells(self) -> list[str]:
        """Return the row's cells as texts, in the order of COLUMNS."""
        if self.target is None:
            target = ""
        elif self.unit == "accuracy":
            target = f"± {self.target:.3f}"
        else:
            target = f"< {self.target:g} {self.unit}" if self.keras is None else f"≥ {self.target:g}x"
        return [
            self.what,
            "" if self.keras is None else self._figure(self.keras),
            self._figure(self.thaw),
            "" if self.ratio is None else f"{self.ratio:.2f}x",
            target,
            {None: "", True: "yes", False: "NO"}[self.reached],
        ]

    def _figure(self, value: float) -> str:
        if self.unit == "accuracy":
            return f"{value:.3f}"
        return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f} {self.unit}"


@dataclass(frozen=True)
class PartResult:
    """A part's rows, what its figures include, and its curves for the plot's panels `images` and `jobs`."""

    rows: list[BenchmarkRow]
    note: str
    curves: dict[str, Curves] = field(default_factory=dict)

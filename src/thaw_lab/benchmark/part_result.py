"""The result of a part: the rows of its two tables, notes, and the curves of the plot."""

from dataclasses import dataclass, field
from typing import Literal

Curves = dict[str, list[tuple[float, float]]]  # name: points (x, seconds)
KERAS = "Keras float32"
COLUMNS = ("what", "against", "its figure", "thaw", "ratio", "target", "reached")
LIMIT_COLUMNS = ("what", "precision", "limit", "speed", "GFLOP/image", "used", "share", "target", "reached")


@dataclass(frozen=True)
class BenchmarkRow:
    """One comparison, medians over the repeats, as benchmark.json has it.

    Attributes:
        part: name of the part.
        what: what was measured.
        unit: of both figures.
        other: the figure that thaw's is compared with; None when there is nothing to compare with.
        thaw: thaw's figure.
        target: the least ratio; without another figure, what thaw must stay below; for an accuracy, the largest
            difference; None: there is none.
        against: whose figure `other` is.
    """

    part: str
    what: str
    unit: Literal["images/s", "s", "accuracy", "MB"]
    other: float | None
    thaw: float
    target: float | None = None
    against: str = KERAS

    @property
    def ratio(self) -> float | None:
        """How many times as fast, or as small, thaw is."""
        if self.unit == "accuracy" or not self.other or not self.thaw:
            return None
        return self.thaw / self.other if self.unit == "images/s" else self.other / self.thaw

    @property
    def reached(self) -> bool | None:
        """Whether the target was reached; None without one."""
        if self.target is None:
            return None
        if self.unit == "accuracy":
            return self.other is not None and abs(self.thaw - self.other) <= self.target
        return self.thaw < self.target if self.ratio is None else self.ratio >= self.target

    def cells(self) -> list[str]:
        """Return the row's cells as texts, in the order of COLUMNS."""
        if self.target is None:
            target = ""
        elif self.unit == "accuracy":
            target = f"± {self.target:.3f}"
        else:
            target = f"< {self.target:g} {self.unit}" if self.other is None else f"≥ {self.target:g}x"
        return [
            self.what,
            "" if self.other is None else self.against,
            "" if self.other is None else self._figure(self.other),
            self._figure(self.thaw),
            "" if self.ratio is None else f"{self.ratio:.2f}x",
            target,
            _reached_text(self.reached),
        ]

    def _figure(self, value: float) -> str:
        return f"{value:.3f}" if self.unit == "accuracy" else f"{_three_digits(value)} {self.unit}"


@dataclass(frozen=True)
class LimitRow:
    """A limit of the chip, and how much of it a network uses; as benchmark.json has it.

    Attributes:
        part: name of the part.
        what: what was measured; without a speed, how the limit was.
        precision: of the limit; empty for memory.
        unit: of the limit.
        limit: what the chip does at most.
        images_per_second: thaw's speed; None for a limit alone.
        gflop: 1e9 operations for an image, as `arithmetic` counts them; None for a limit alone.
        target: the least share of the limit; None: there is none.
    """

    part: str
    what: str
    precision: str
    unit: Literal["GFLOP/s", "GB/s"]
    limit: float
    images_per_second: float | None = None
    gflop: float | None = None
    target: float | None = None

    @property
    def used(self) -> float | None:
        """1e9 operations a second."""
        if self.images_per_second is None or self.gflop is None:
            return None
        return self.images_per_second * self.gflop

    @property
    def share(self) -> float | None:
        """Share of the limit that is used."""
        return None if self.used is None else self.used / self.limit

    @property
    def reached(self) -> bool | None:
        """Whether the target was reached; None without one."""
        return None if self.target is None or self.share is None else self.share >= self.target

    def cells(self) -> list[str]:
        """Return the row's cells as texts, in the order of LIMIT_COLUMNS."""
        return [
            self.what,
            self.precision,
            f"{_three_digits(self.limit)} {self.unit}",
            "" if self.images_per_second is None else f"{_three_digits(self.images_per_second)} images/s",
            "" if self.gflop is None else _three_digits(self.gflop),
            "" if self.used is None else f"{_three_digits(self.used)} {self.unit}",
            "" if self.share is None else f"{self.share:.0%}",
            "" if self.target is None else f"≥ {self.target:.0%}",
            _reached_text(self.reached),
        ]


def _three_digits(value: float) -> str:
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def _reached_text(reached: bool | None) -> str:
    return {None: "", True: "yes", False: "NO"}[reached]


@dataclass(frozen=True)
class PartResult:
    """A part's rows, what its figures include, its curves for the plot's panels `images` and `jobs`, and its limits."""

    rows: list[BenchmarkRow]
    notes: list[str]
    curves: dict[str, Curves] = field(default_factory=dict)
    limits: list[LimitRow] = field(default_factory=list)

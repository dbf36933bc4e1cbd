"""What a part came to."""

from dataclasses import dataclass, field

from thaw_lab.tables import BenchmarkRow

Curves = dict[str, list[tuple[float, float]]]  # name: points (x, seconds)


@dataclass(frozen=True)
class PartResult:
    """rows: of the table; note: what the figures include; lines: of the plot's panels `images` and `jobs`."""

    rows: list[BenchmarkRow]
    note: str
    lines: dict[str, Curves] = field(default_factory=dict)

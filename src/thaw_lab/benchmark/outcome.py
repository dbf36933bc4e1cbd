"""What a part came to."""

from dataclasses import dataclass, field

from thaw_lab.tables import Row

Lines = dict[str, list[tuple[float, float]]]  # name: points (x, seconds)


@dataclass(frozen=True)
class Outcome:
    """rows: of the table; note: what the figures include; lines: of the plot's panels `images` and `jobs`."""

    rows: list[Row]
    note: str
    lines: dict[str, Lines] = field(default_factory=dict)

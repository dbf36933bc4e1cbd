"""What a run of the study reached, kept line by line so that a stopped study goes on."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class StudyRecord:
    """One run: accuracies from 0 to 1, and the seconds of training without what was extracted before."""

    data: str
    candidate: str
    overrides: str
    seed: int
    val: float
    test: float
    train_seconds: float
    total_seconds: float

    @property
    def key(self) -> tuple[str, str, int]:
        """What makes two runs the same one."""
        return self.data, self.overrides, self.seed


def read_records(file: Path) -> list[StudyRecord]:
    """Return the records of a file; none if it does not exist."""
    if not file.exists():
        return []
    return [StudyRecord(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def append_record(file: Path, record: StudyRecord) -> None:
    """Write a record behind those of the file."""
    with file.open("a", encoding="utf-8") as lines:
        lines.write(f"{json.dumps(asdict(record))}\n")


def table(records: Iterable[StudyRecord], candidates: Sequence[str], data: Sequence[str]) -> list[list[str]]:
    """Return a row for each candidate: test accuracy by data set, mean rank by validation, and seconds of training.

    Accuracy is the mean over seeds with the standard deviation. Ranks begin with 1 for the highest mean validation
    accuracy; equal ones share the mean of their ranks. The mean is over the data sets that all candidates ran on.
    """
    found: dict[tuple[str, str], list[StudyRecord]] = {}
    for record in records:
        found.setdefault((record.candidate, record.data), []).append(record)
    ranks: dict[str, list[float]] = {candidate: [] for candidate in candidates}
    for name in data:
        if all((candidate, name) in found for candidate in candidates):
            means = {c: statistics.fmean(r.val for r in found[c, name]) for c in candidates}
            for candidate, mean in means.items():
                better = sum(other > mean for other in means.values())
                ranks[candidate].append(better + (1 + sum(other == mean for other in means.values())) / 2)
    rows = []
    for candidate in candidates:
        of_data = [found.get((candidate, name), []) for name in data]
        seconds = [statistics.fmean(r.train_seconds for r in runs) for runs in of_data if runs]
        rank = f"{statistics.fmean(ranks[candidate]):.1f}" if ranks[candidate] else ""
        rows.append([candidate, *map(_accuracy, of_data), rank, f"{statistics.fmean(seconds):.0f}" if seconds else ""])
    return rows


def _accuracy(runs: Sequence[StudyRecord]) -> str:
    if not runs:
        return ""
    spread = f" ± {statistics.stdev(r.test for r in runs):.3f}" if len(runs) > 1 else ""
    return f"{statistics.fmean(r.test for r in runs):.3f}{spread}"

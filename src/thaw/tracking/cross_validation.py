"""Mean and standard deviation over the folds of a cross-validation, for each setting of a sweep's other keys."""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FOLD_OVERRIDE = "split.fold="


@dataclass(frozen=True)
class FoldRun:
    """A fold's run: overrides as typed, `split.fold=` among them, its last metrics, and how many folds there are."""

    run_id: str
    overrides: str
    metrics: Mapping[str, float]
    folds: int


@dataclass(frozen=True)
class MeanStd:
    """Mean and sample standard deviation (n - 1 in the denominator) of n folds."""

    mean: float
    std: float
    n: int


@dataclass(frozen=True)
class FoldSummary:
    """A setting of the keys that were not the fold, and its figures over the folds that finished, at least 2.

    overrides: as typed, without the fold. folds: how many there are, finished or not. metrics: `val/...`, `test/...`
    and `objective`, not those of single classes.
    """

    overrides: str
    run_ids: tuple[str, ...]
    folds: int
    metrics: Mapping[str, MeanStd]

    def as_metrics(self) -> dict[str, float]:
        """Return `val/accuracy_mean`, `val/accuracy_std`, ... and `folds`, the number that finished."""
        found: dict[str, float] = {"folds": len(self.run_ids)}
        for name, spread in self.metrics.items():
            found |= {f"{name}_mean": spread.mean, f"{name}_std": spread.std}
        return found

    def line(self) -> str:
        """Say it on one line: `5 folds · val accuracy 0.9721 ± 0.0081 · test accuracy 0.9654 ± 0.0040: lr=1e-3`."""
        figures = [
            f"{name.replace('/', ' ')} {self.metrics[name].mean:.4f} ± {self.metrics[name].std:.4f}"
            for name in ("val/accuracy", "test/accuracy")
            if name in self.metrics
        ]
        finished = len(self.run_ids)
        count = f"{finished} folds" if finished == self.folds else f"only {finished} of {self.folds} folds"
        return " · ".join([count, *figures]) + f": {self.overrides}"


def summarize_folds(runs: Iterable[FoldRun], *, maximize: bool = True) -> list[FoldSummary]:
    """Gather finished runs that differ in nothing but the fold; the setting with the best mean objective comes first.

    Settings of which fewer than 2 folds finished are left out: they have no deviation.
    """
    by_setting: dict[str, list[FoldRun]] = {}
    for run in runs:
        words = run.overrides.split(" ")
        if any(word.startswith(FOLD_OVERRIDE) for word in words):
            setting = " ".join(word for word in words if not word.startswith(FOLD_OVERRIDE))
            by_setting.setdefault(setting, []).append(run)
    settings = [_setting(overrides, own) for overrides, own in by_setting.items() if len(own) > 1]
    return sorted(settings, key=lambda setting: _rank(setting, maximize))


def _setting(overrides: str, runs: list[FoldRun]) -> FoldSummary:
    names = [name for name in runs[0].metrics if name.startswith(("val/", "test/")) or name == "objective"]
    metrics = {}
    for name in sorted(name for name in names if "/class/" not in name):
        values = [run.metrics[name] for run in runs if name in run.metrics]
        if len(values) == len(runs) and all(map(math.isfinite, values)):
            metrics[name] = MeanStd(statistics.fmean(values), statistics.stdev(values), len(values))
    return FoldSummary(overrides, tuple(run.run_id for run in runs), runs[0].folds, metrics)


def _rank(setting: FoldSummary, maximize: bool) -> float:
    objective = setting.metrics.get("objective")
    if objective is None:
        return math.inf
    return -objective.mean if maximize else objective.mean

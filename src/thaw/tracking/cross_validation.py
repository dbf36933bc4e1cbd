"""Mean and standard deviation over the folds of a cross-validation, for each setting of a sweep's other keys."""

import json
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from thaw.tracking.run_lookup import StoredRun

FOLD_OVERRIDE = "split.fold="


@dataclass(frozen=True)
class MeanStd:
    """Mean and sample standard deviation (n - 1 in the denominator) over n folds."""

    mean: float
    std: float
    n: int


@dataclass(frozen=True)
class FoldSummary:
    """The metrics of one setting, summarized over its finished folds, of which there are at least 2.

    The names of the fields are the keys of `folds.json`.
    overrides: the setting as typed, without the fold. folds: how many folds there are, finished or not. metrics:
    `val/...`, `test/...` and `objective`, without those of single classes.
    """

    overrides: str
    run_ids: tuple[str, ...]
    folds: int
    metrics: Mapping[str, MeanStd]

    def as_metrics(self) -> dict[str, float]:
        """Return `val/accuracy_mean`, `val/accuracy_std`, ... and `folds`, the number of finished folds."""
        values: dict[str, float] = {"folds": len(self.run_ids)}
        for name, summary in self.metrics.items():
            values |= {f"{name}_mean": summary.mean, f"{name}_std": summary.std}
        return values

    def line(self) -> str:
        """Return one line: `5 folds · val accuracy 0.9721 ± 0.0081 · test accuracy 0.9654 ± 0.0040: lr=1e-3`."""
        accuracies = [
            f"{name.replace('/', ' ')} {self.metrics[name].mean:.4f} ± {self.metrics[name].std:.4f}"
            for name in ("val/accuracy", "test/accuracy")
            if name in self.metrics
        ]
        finished = len(self.run_ids)
        count = f"{finished} folds" if finished == self.folds else f"only {finished} of {self.folds} folds"
        return " · ".join([count, *accuracies]) + f": {self.overrides}"


def fold_summaries(runs: Iterable[StoredRun], *, maximize: bool = True) -> list[FoldSummary]:
    """Return one summary for the runs that differ only in their fold, best mean objective first.

    Settings with fewer than 2 finished folds have no standard deviation and are left out.
    """
    by_setting: dict[str, list[StoredRun]] = {}
    for run in runs:
        words = run.overrides.split(" ")
        if run.status == "FINISHED" and _folds(run) and any(word.startswith(FOLD_OVERRIDE) for word in words):
            setting = " ".join(word for word in words if not word.startswith(FOLD_OVERRIDE))
            by_setting.setdefault(setting, []).append(run)
    summaries = [_summarize(overrides, group) for overrides, group in by_setting.items() if len(group) > 1]

    def rank(summary: FoldSummary) -> float:
        objective = summary.metrics.get("objective")
        return objective_rank(objective.mean if objective else None, maximize)

    return sorted(summaries, key=rank)


def folds_json(summaries: list[FoldSummary]) -> str:
    """Return a JSON list: `overrides`, `run_ids`, `folds` and `metrics` of each, which have `mean`, `std` and `n`."""
    return json.dumps([asdict(summary) for summary in summaries], indent=2) + "\n"


def objective_rank(objective: float | None, maximize: bool) -> float:
    """Return a sort key that puts the best objective first, and None and NaN last, at infinity."""
    if objective is None or math.isnan(objective):
        return math.inf
    return -objective if maximize else objective


def _folds(run: StoredRun) -> int:
    folds = run.params.get("split.folds", "")
    return int(folds) if folds.isdigit() else 0


def _summarize(overrides: str, runs: list[StoredRun]) -> FoldSummary:
    names = [name for name in runs[0].metrics if name.startswith(("val/", "test/")) or name == "objective"]
    metrics = {}
    for name in sorted(name for name in names if "/class/" not in name):
        values = [run.metrics[name] for run in runs if name in run.metrics]
        if len(values) == len(runs) and all(map(math.isfinite, values)):
            metrics[name] = MeanStd(statistics.fmean(values), statistics.stdev(values), len(values))
    return FoldSummary(overrides, tuple(run.id for run in runs), _folds(runs[0]), metrics)

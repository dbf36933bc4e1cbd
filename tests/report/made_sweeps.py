"""Sweeps with numbers that look like those of a study, made without one."""

import random
from typing import Any

from thaw.report.sweep_figures import ParamRange, SweepFigures, SweepJob

ACCURACY, LATENCY, SIZE = ("val/accuracy", "maximize"), ("latency_ms", "minimize"), ("megabytes", "minimize")
RANGES = {
    "optimizer.lr": ParamRange(1e-5, 1e-1, log=True),
    "head.dropout": ParamRange(0.0, 0.6),
    "head.units": ParamRange(64, 1024, log=True),
    "finetune.freeze": ParamRange(choices=("all", "block5a", None)),
    "augment.mixup": ParamRange(choices=(True, False)),
}
STATES = ("finished", "pruned", "finished", "failed", "finished", "running")


def make_job(number: int, ranges: dict[str, ParamRange] = RANGES, objectives: int = 1, **changed: Any) -> SweepJob:
    """A job: the fourth failed, the sixth runs, every second of six was pruned; the same whenever it is made."""
    rng = random.Random(number)
    state = changed.pop("state", STATES[number % len(STATES)])
    params = {
        key: rng.choice(r.choices) if r.choices else rng.uniform(r.low, r.high) if not r.log
        else r.low * (r.high / r.low) ** rng.random()
        for key, r in ranges.items()
    }  # fmt: skip
    epochs = {"finished": 12, "pruned": 3, "failed": 0, "running": 5}[state]
    values = tuple(rng.uniform(0.8, 0.95) * 10**i for i in range(objectives)) if state == "finished" else ()
    given: dict[str, Any] = {
        "params": params,
        "curve": {epoch: 0.9 - 0.5 / epoch + rng.gauss(0, 0.02) for epoch in range(1, epochs + 1)},
        "values": values,
        "run_id": f"{number:03}{'abcdef01' * 4}"[:32],
        "name": f"job-name-{number}",
        "seconds": 3.0 * epochs + 1,
        "reason": {"failed": f"out of memory in job {number}", "pruned": "pruned at epoch 3"}.get(state, ""),
        "started": 1.78e9 + 20 * number,
        "ended": None if state == "running" else 1.78e9 + 20 * number + 3.0 * epochs + 1,
        "metrics": {"val/accuracy": values[0], "test/accuracy": values[0] - 0.0123} if values else {},
        "cached_images": 100,
        "computed_images": 7,
        "on_front": objectives > 1 and state == "finished" and number % 4 == 0,
    }
    return SweepJob(number, state, **(given | changed))


def make_sweep(
    count: int = 18,
    objectives: tuple[tuple[str, str], ...] = (ACCURACY,),
    ranges: dict[str, ParamRange] = RANGES,
    **changed: Any,
) -> SweepFigures:
    """A whole sweep, with importances and savings."""
    given: dict[str, Any] = {
        "name": "clothing-tpe", "id": "4f2c9b1e", "command": "python train.py -m optimizer.lr='interval(1e-5, 1e-1)'",
        "sampler": "TPE", "pruner": "Hyperband", "objectives": objectives, "trials": count,
        "jobs": tuple(make_job(i, ranges, len(objectives)) for i in range(count)), "distributions": ranges,
        "importances": {key: 0.5**i for i, key in enumerate(ranges, 1)}, "wall_seconds": 400.0,
        "saved_seconds": {"cache": 311.0, "reuse": 55.5, "pruning": 4020.0},
    }  # fmt: skip
    return SweepFigures(**(given | changed))

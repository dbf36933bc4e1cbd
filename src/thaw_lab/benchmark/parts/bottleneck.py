"""Parts `rerun` and `sweep`: what the second run of recipe=bottleneck costs, and each job of a sweep."""

from functools import partial
from statistics import median

import numpy as np

from thaw_lab import sample_images
from thaw_lab.benchmark.measure import Measurement, PartRunner, median_figure, run_alternating
from thaw_lab.benchmark.part_result import BenchmarkRow, PartResult
from thaw_lab.benchmark.parts import two_stages

RERUN_NOTE = (
    "rerun: recipe=bottleneck with InceptionV3 (random weights) on {photos} photos, 20 epochs of the head. first: with "
    "an empty cache. Then only the head changes, and only the learning rate. whole: `seconds.total`, imports left out; "
    "extraction: `seconds.extract`, with the hash of the frozen weights. Targets are for a CPU with AMX."
)
SWEEP_NOTE = (
    "sweep: `train.py -m recipe=bottleneck optimizer.learning_rate=` of {jobs} values on a warm cache, {photos} "
    "photos. a job: the whole sweep with its worker's imports, by its jobs; inside: the median of the jobs' own "
    "`seconds.total`; a loop: {loop} of the runs as a process each. Targets are for two cores with AVX-512 bfloat16, "
    "without AMX."
)
LOOP_RUNS = 5  # enough for a median; all would take the afternoon
SWEEP_TARGETS = {"efficientnet_lite0": 1.5, "inceptionv3": 2.5}  # seconds
CHANGES = {"first": (), "head=linear": ("head=linear",), "learning rate": ("optimizer.learning_rate=3e-3",)}


def rerun(runner: PartRunner) -> PartResult:
    """Measure seconds of a bottleneck run after which only the head, or only the learning rate, changed."""
    overrides = _overrides(runner, "inceptionv3")

    def train(name: str, repeat: int) -> Measurement:
        run_dir = f"rerun-{list(CHANGES).index(name)}-{repeat}"
        return runner.run_training(name, run_dir, *overrides, f"cache.dir=cache-rerun-{repeat}", *CHANGES[name])

    rows, sides = [], {name: partial(train, name) for name in CHANGES}
    for name, repeats in run_alternating(runner.config.repeats, sides).items():
        whole = median_figure(repeats, lambda measured: measured.seconds)
        if name == "first":
            rows.append(BenchmarkRow(runner.part, "rerun, first run: whole", "s", None, whole))
            continue
        extraction = median_figure(repeats, lambda measured: measured.report["seconds"]["extract"])
        rows.append(BenchmarkRow(runner.part, f"rerun, {name}: extraction", "s", None, extraction, 1.0))
        rows.append(BenchmarkRow(runner.part, f"rerun, {name}: whole", "s", None, whole, 5.0))
    return PartResult(rows, [RERUN_NOTE.format(photos=runner.config.photos)])


def sweep(runner: PartRunner) -> PartResult:
    """Measure seconds per job of a sweep over the learning rate when the features are in the cache."""
    jobs, rows = max(runner.config.jobs), []
    for name, target in SWEEP_TARGETS.items():
        overrides = [*_overrides(runner, name), f"cache.dir=cache-sweep-{name}"]
        runner.run_training(f"{name}, to warm the cache", f"warm-{name}", *overrides)
        what, rates = f"{name}, {jobs} jobs", learning_rates_override(jobs)
        repeats = [
            runner.run_sweep(what, f"sweep-{name}-{repeat}", *overrides, rates)
            for repeat in range(runner.config.repeats)
        ]
        each = median_figure(repeats, lambda measured: measured.seconds / jobs)
        inside = median_figure(repeats, lambda measured: median(job["total"] for job in measured.report["jobs"]))
        rows.append(BenchmarkRow(runner.part, f"sweep, {name}: a job", "s", None, each, target))
        rows.append(BenchmarkRow(runner.part, f"sweep, {name}: inside", "s", None, inside))
        loop = [
            runner.run_command(f"{name}, a run", f"loop-{name}-{i}", *overrides, f"optimizer.learning_rate={i + 1}e-3")
            for i in range(LOOP_RUNS)
        ]
        alone = median_figure(loop, lambda measured: measured.wall_seconds)
        rows.append(BenchmarkRow(runner.part, f"sweep, {name}: of a loop", "s", alone, each, against="a process each"))
    return PartResult(rows, [SWEEP_NOTE.format(jobs=jobs, photos=runner.config.photos, loop=LOOP_RUNS)])


def learning_rates_override(jobs: int) -> str:
    """Return the override that makes a sweep of so many jobs (with -m, one alone is a sweep too)."""
    return "optimizer.learning_rate=" + ",".join(f"{rate:.3g}" for rate in np.geomspace(1e-4, 1e-2, jobs))


def _overrides(runner: PartRunner, name: str) -> list[str]:
    folder = sample_images.photo_folder(runner.work_dir, runner.config.photos, with_test=True)
    weights = None if name == "efficientnet_lite0" else two_stages.random_weights_file(runner, name)
    network = two_stages.network_overrides(name, weights, two_stages.input_size(runner, name))
    return ["recipe=bottleneck", *network, *two_stages.dataset_overrides(folder)]

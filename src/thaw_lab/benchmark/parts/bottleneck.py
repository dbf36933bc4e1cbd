"""Parts `rerun` and `sweep`: what the second run of recipe=bottleneck costs, and each job of a sweep."""

from pathlib import Path

import numpy as np

from thaw_lab import photos
from thaw_lab.benchmark.keras_scripts import keras_networks
from thaw_lab.benchmark.measure import Measurement, PartRunner, median_figure, run_alternating
from thaw_lab.benchmark.outcome import PartResult
from thaw_lab.benchmark.parts.two_stages import dataset_overrides, network_overrides, random_weights_file
from thaw_lab.tables import BenchmarkRow

RERUN_NOTE = (
    "rerun: recipe=bottleneck with InceptionV3 (random weights) on {photos} photos, 20 epochs of the head. first: with "
    "an empty cache. Then only the head changes, and only the learning rate. whole: `seconds.total`, imports left out; "
    "extraction: `seconds.extract`, with the hash of the frozen weights."
)
SWEEP_NOTE = (
    "sweep: `train.py -m recipe=bottleneck optimizer.learning_rate=` of {jobs} values on a warm cache, {photos} "
    "photos. a job: the whole sweep without imports, by its jobs; inside: the median of the jobs' own `seconds.total`."
)
CHANGES = {"head=linear": "head=linear", "learning rate": "optimizer.learning_rate=3e-3"}


def rerun(bench: PartRunner) -> PartResult:
    """Seconds of a bottleneck run after which only the head, or only the learning rate, changed."""
    given = _bottleneck(bench, "inceptionv3")

    def first(repeat: int) -> Measurement:
        return bench.run_training("first", f"rerun-{repeat}", *given, f"cache.dir=cache-rerun-{repeat}")

    def again(repeat: int, name: str) -> Measurement:
        own = f"rerun-{list(CHANGES).index(name)}-{repeat}"
        return bench.run_training(name, own, *given, f"cache.dir=cache-rerun-{repeat}", CHANGES[name])

    found = run_alternating(
        bench.config.repeats,
        {"first": first, **{name: lambda repeat, name=name: again(repeat, name) for name in CHANGES}},  # type: ignore[misc]
    )
    rows = [
        BenchmarkRow(
            bench.part, "rerun, first run: whole", "s", None, median_figure(found["first"], lambda ran: ran.seconds)
        )
    ]
    for name in CHANGES:
        extracted = median_figure(found[name], lambda ran: ran.report["seconds"]["extract"])
        rows.append(BenchmarkRow(bench.part, f"rerun, {name}: extraction", "s", None, extracted, 1.0))
        rows.append(
            BenchmarkRow(
                bench.part, f"rerun, {name}: whole", "s", None, median_figure(found[name], lambda ran: ran.seconds), 5.0
            )
        )
    return PartResult(rows, RERUN_NOTE.format(photos=bench.config.photos))


def sweep(bench: PartRunner) -> PartResult:
    """Seconds a job of a sweep over the learning rate, when the features are there."""
    jobs = max(bench.config.jobs)
    rows = []
    for name in ("efficientnet_lite0", "inceptionv3"):
        given = [*_bottleneck(bench, name), f"cache.dir=cache-sweep-{name}"]
        bench.run_training(f"{name}, to warm the cache", f"warm-{name}", *given)

        def thaw(repeat: int, name: str = name, given: list[str] = given) -> Measurement:
            return bench.run_sweep(
                f"{name}, {jobs} jobs", f"sweep-{name}-{repeat}", *given, learning_rates_override(jobs)
            )

        found = run_alternating(bench.config.repeats, {"thaw": thaw})["thaw"]
        each = median_figure(found, lambda ran: ran.seconds / jobs)
        inside = median_figure(found, lambda ran: float(np.median([job["total"] for job in ran.report["jobs"]])))
        rows.append(BenchmarkRow(bench.part, f"sweep, {name}: a job", "s", None, each, 3.0))
        rows.append(BenchmarkRow(bench.part, f"sweep, {name}: inside", "s", None, inside))
    return PartResult(rows, SWEEP_NOTE.format(jobs=jobs, photos=bench.config.photos))


def learning_rates_override(jobs: int) -> str:
    """The override that makes a sweep of so many jobs (one alone is a sweep too, with -m)."""
    return "optimizer.learning_rate=" + ",".join(f"{rate:.3g}" for rate in np.geomspace(1e-4, 1e-2, jobs))


def _bottleneck(bench: PartRunner, name: str) -> list[str]:
    folder = photos.photo_folder(bench.work, bench.config.photos, with_test=True)
    size = bench.config.image_size or keras_networks.image_size(name)
    weights: Path | None = None if name == "efficientnet_lite0" else random_weights_file(bench, name, size)
    return ["recipe=bottleneck", *network_overrides(name, weights, size), *dataset_overrides(folder)]

"""Parts `rerun` and `sweep`: what the second run of recipe=bottleneck costs, and each job of a sweep."""

from pathlib import Path

import numpy as np

from thaw_lab import photos
from thaw_lab.benchmark.keras_scripts import keras_networks
from thaw_lab.benchmark.measure import Bench, Ran, in_turn, middle
from thaw_lab.benchmark.outcome import Outcome
from thaw_lab.benchmark.parts.two_stages import data, network, random_weights
from thaw_lab.tables import Row

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


def rerun(bench: Bench) -> Outcome:
    """Seconds of a bottleneck run after which only the head, or only the learning rate, changed."""
    given = _bottleneck(bench, "inceptionv3")

    def first(repeat: int) -> Ran:
        return bench.train("first", f"rerun-{repeat}", *given, f"cache.dir=cache-rerun-{repeat}")

    def again(repeat: int, name: str) -> Ran:
        own = f"rerun-{list(CHANGES).index(name)}-{repeat}"
        return bench.train(name, own, *given, f"cache.dir=cache-rerun-{repeat}", CHANGES[name])

    found = in_turn(
        bench.config.repeats,
        {"first": first, **{name: lambda repeat, name=name: again(repeat, name) for name in CHANGES}},  # type: ignore[misc]
    )
    rows = [Row(bench.part, "rerun, first run: whole", "s", None, middle(found["first"], lambda ran: ran.seconds))]
    for name in CHANGES:
        extracted = middle(found[name], lambda ran: ran.report["seconds"]["extract"])
        rows.append(Row(bench.part, f"rerun, {name}: extraction", "s", None, extracted, 1.0))
        rows.append(
            Row(bench.part, f"rerun, {name}: whole", "s", None, middle(found[name], lambda ran: ran.seconds), 5.0)
        )
    return Outcome(rows, RERUN_NOTE.format(photos=bench.config.photos))


def sweep(bench: Bench) -> Outcome:
    """Seconds a job of a sweep over the learning rate, when the features are there."""
    jobs = max(bench.config.jobs)
    rows = []
    for name in ("efficientnet_lite0", "inceptionv3"):
        given = [*_bottleneck(bench, name), f"cache.dir=cache-sweep-{name}"]
        bench.train(f"{name}, to warm the cache", f"warm-{name}", *given)

        def thaw(repeat: int, name: str = name, given: list[str] = given) -> Ran:
            return bench.sweep(f"{name}, {jobs} jobs", f"sweep-{name}-{repeat}", *given, rates(jobs))

        found = in_turn(bench.config.repeats, {"thaw": thaw})["thaw"]
        each = middle(found, lambda ran: ran.seconds / jobs)
        inside = middle(found, lambda ran: float(np.median([job["total"] for job in ran.report["jobs"]])))
        rows.append(Row(bench.part, f"sweep, {name}: a job", "s", None, each, 3.0))
        rows.append(Row(bench.part, f"sweep, {name}: inside", "s", None, inside))
    return Outcome(rows, SWEEP_NOTE.format(jobs=jobs, photos=bench.config.photos))


def rates(jobs: int) -> str:
    """The override that makes a sweep of so many jobs (one alone is a sweep too, with -m)."""
    return "optimizer.learning_rate=" + ",".join(f"{rate:.3g}" for rate in np.geomspace(1e-4, 1e-2, jobs))


def _bottleneck(bench: Bench, name: str) -> list[str]:
    folder = photos.folder(bench.work, bench.config.photos, tested=True)
    size = bench.config.image_size or keras_networks.image_size(name)
    weights: Path | None = None if name == "efficientnet_lite0" else random_weights(bench, name, size)
    return ["recipe=bottleneck", *network(name, weights, size), *data(folder)]

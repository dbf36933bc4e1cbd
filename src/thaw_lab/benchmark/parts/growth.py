"""Part `growth`: seconds against images, and against a sweep's jobs."""

from pathlib import Path

from thaw_lab import photos
from thaw_lab.benchmark.measure import Measurement, PartRunner, median_figure, run_alternating
from thaw_lab.benchmark.outcome import Curves, PartResult
from thaw_lab.benchmark.parts.bottleneck import learning_rates_override
from thaw_lab.benchmark.parts.two_stages import dataset_overrides, network_overrides
from thaw_lab.tables import BenchmarkRow

NAME, SIZE = "efficientnet_lite0", 160
FIRST, SECOND, KERAS = "thaw, first run", "thaw, second run", "Keras script"
NOTE = (
    "growth: EfficientNet-Lite0 at {size} px with everything frozen, {epochs} epochs of the head on 500x375 JPEG "
    "photos, seconds without imports. Keras: the first stage of the two-stage script. thaw: recipe=bottleneck, first "
    "with an empty cache, then the same again. MB: the process's peak resident memory. Jobs: a sweep over the learning "
    "rate from an empty cache on {photos} photos, against so many times the script (measured once, multiplied)."
)


def growth(bench: PartRunner) -> PartResult:
    """The plot's lines, and in the table the largest of both."""
    images, rows = _images(bench)
    jobs = _jobs(bench)
    most = max(bench.config.jobs)
    last = {name: dict(points)[most] for name, points in jobs.items()}
    rows.append(BenchmarkRow(bench.part, f"growth, sweep of {most} jobs", "s", last[KERAS], last["thaw, one sweep"]))
    note = NOTE.format(size=bench.config.image_size or SIZE, epochs=bench.config.epochs, photos=bench.config.photos)
    return PartResult(rows, note, {"images": images, "jobs": jobs})


def _images(bench: PartRunner) -> tuple[Curves, list[BenchmarkRow]]:
    lines: Curves = {KERAS: [], FIRST: [], SECOND: []}
    rows: list[BenchmarkRow] = []
    for count in sorted(bench.config.growth):
        found = _measured(bench, count)
        for name, points in lines.items():
            points.append((count, median_figure(found[name], lambda ran: ran.seconds)))
        keras = lines[KERAS][-1][1]
        label = f"growth, {count:,} photos"
        rows.append(BenchmarkRow(bench.part, f"{label}: first run", "s", keras, lines[FIRST][-1][1]))
        rows.append(BenchmarkRow(bench.part, f"{label}: second run", "s", keras, lines[SECOND][-1][1]))
    peaks = [median_figure(found[name], lambda ran: ran.peak_mb) for name in (KERAS, FIRST)]
    rows.append(BenchmarkRow(bench.part, f"{label}: memory", "MB", peaks[0], peaks[1]))
    return lines, rows


def _measured(bench: PartRunner, count: int) -> dict[str, list[Measurement]]:
    folder = photos.photo_folder(bench.work, count, with_test=True)

    def thaw(repeat: int, number: int) -> Measurement:
        cache = f"cache.dir=cache-growth-{count}-{repeat}"
        what = f"{count:,} photos, run {number}"
        return bench.run_training(what, f"growth-{count}-{repeat}-{number}", *_bottleneck(bench, folder), cache)

    return run_alternating(
        bench.config.growth_repeats,
        {
            KERAS: lambda repeat: _script(bench, folder, f"{count:,} photos"),
            FIRST: lambda repeat: thaw(repeat, 1),
            SECOND: lambda repeat: thaw(repeat, 2),
        },
    )


def _jobs(bench: PartRunner) -> Curves:
    folder = photos.photo_folder(bench.work, bench.config.photos, with_test=True)
    once = _script(bench, folder, "a job by hand").seconds
    lines: Curves = {KERAS: [], "thaw, one sweep": []}
    for count in sorted(bench.config.jobs):
        cache = f"cache.dir=cache-jobs-{count}"
        ran = bench.run_sweep(
            f"{count} jobs", f"jobs-{count}", *_bottleneck(bench, folder), cache, learning_rates_override(count)
        )
        lines[KERAS].append((count, once * count))
        lines["thaw, one sweep"].append((count, ran.seconds))
    return lines


def _script(bench: PartRunner, folder: Path, what: str) -> Measurement:
    size = bench.config.image_size or SIZE
    return bench.run_module(
        what, "Keras", "keras_scripts.keras_two_stages", "--photos", folder, "--network", NAME, "--size", size,
        "--head-epochs", bench.config.epochs, "--epochs", 0, "--validation", 1 / 9,
    )  # fmt: skip


def _bottleneck(bench: PartRunner, folder: Path) -> list[str]:
    size = bench.config.image_size or SIZE
    return [
        "recipe=bottleneck", f"bottleneck.epochs={bench.config.epochs}", *network_overrides(NAME, None, size),
        *dataset_overrides(folder),
    ]  # fmt: skip

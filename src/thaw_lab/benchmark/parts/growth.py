"""Part `growth`: seconds against images, and against a sweep's jobs."""

from functools import partial
from pathlib import Path

from thaw_lab import sample_images
from thaw_lab.benchmark.measure import Measurement, Measurements, PartRunner, median_figure, run_alternating
from thaw_lab.benchmark.part_result import BenchmarkRow, Curves, PartResult
from thaw_lab.benchmark.parts.bottleneck import learning_rates_override
from thaw_lab.benchmark.parts.two_stages import dataset_overrides, network_overrides, run_keras_script

NETWORK, SIZE = "efficientnet_lite0", 160  # pixels
FIRST, SECOND, SWEEP, KERAS = "thaw, first run", "thaw, second run", "thaw, one sweep", "Keras script"
NOTE = (
    "growth: EfficientNet-Lite0 at {size} px with everything frozen, {epochs} epochs of the head on 500x375 JPEG "
    "photos, seconds without imports. Keras: the first stage of the two-stage script. thaw: recipe=bottleneck, first "
    "with an empty cache, then the same again. MB: the process's peak resident memory. Jobs: a sweep over the learning "
    "rate from an empty cache on {photos} photos, against so many times the script (measured once, multiplied)."
)


def growth(runner: PartRunner) -> PartResult:
    """Measure the plot's curves, and the largest of both for the table."""
    images, rows = _images(runner)
    jobs = _jobs(runner)
    keras, sweep = jobs[KERAS][-1][1], jobs[SWEEP][-1][1]
    most = max(runner.config.jobs)
    rows.append(BenchmarkRow(runner.part, f"growth, sweep of {most} jobs", "s", keras, sweep))
    note = NOTE.format(size=_size(runner), epochs=runner.config.epochs, photos=runner.config.photos)
    return PartResult(rows, [note], {"images": images, "jobs": jobs})


def _images(runner: PartRunner) -> tuple[Curves, list[BenchmarkRow]]:
    curves: Curves = {KERAS: [], FIRST: [], SECOND: []}
    rows: list[BenchmarkRow] = []
    for count in sorted(runner.config.growth):
        sides = _measure(runner, count)
        seconds = {side: median_figure(repeats, lambda measured: measured.seconds) for side, repeats in sides.items()}
        for side, points in curves.items():
            points.append((count, seconds[side]))
        label = f"growth, {count:,} photos"
        rows.append(BenchmarkRow(runner.part, f"{label}: first run", "s", seconds[KERAS], seconds[FIRST]))
        rows.append(BenchmarkRow(runner.part, f"{label}: second run", "s", seconds[KERAS], seconds[SECOND]))
    keras, thaw = (median_figure(sides[side], lambda measured: measured.peak_mb) for side in (KERAS, FIRST))
    rows.append(BenchmarkRow(runner.part, f"{label}: memory", "MB", keras, thaw))
    return curves, rows


def _measure(runner: PartRunner, count: int) -> Measurements:
    folder = sample_images.photo_folder(runner.work_dir, count, with_test=True)

    def train(run: int, repeat: int) -> Measurement:
        run_dir, cache = f"growth-{count}-{repeat}-{run}", f"cache.dir=cache-growth-{count}-{repeat}"
        return runner.run_training(f"{count:,} photos, run {run}", run_dir, *_overrides(runner, folder), cache)

    sides = {FIRST: partial(train, 1), SECOND: partial(train, 2)}
    keras = partial(_run_script, runner, folder, f"{count:,} photos")
    return run_alternating(runner.config.growth_repeats, {KERAS: keras, **sides})


def _jobs(runner: PartRunner) -> Curves:
    folder = sample_images.photo_folder(runner.work_dir, runner.config.photos, with_test=True)
    once = _run_script(runner, folder, "a job by hand").seconds
    curves: Curves = {KERAS: [], SWEEP: []}
    for count in sorted(runner.config.jobs):
        overrides = [*_overrides(runner, folder), f"cache.dir=cache-jobs-{count}", learning_rates_override(count)]
        sweep = runner.run_sweep(f"{count} jobs", f"jobs-{count}", *overrides)
        curves[KERAS].append((count, once * count))
        curves[SWEEP].append((count, sweep.seconds))
    return curves


def _run_script(runner: PartRunner, folder: Path, what: str, _repeat: int = 0) -> Measurement:
    return run_keras_script(runner, what, folder, NETWORK, _size(runner), 0)


def _overrides(runner: PartRunner, folder: Path) -> list[str]:
    recipe = ["recipe=bottleneck", f"bottleneck.epochs={runner.config.epochs}"]
    return [*recipe, *network_overrides(NETWORK, None, _size(runner)), *dataset_overrides(folder)]


def _size(runner: PartRunner) -> int:
    return runner.config.image_size or SIZE

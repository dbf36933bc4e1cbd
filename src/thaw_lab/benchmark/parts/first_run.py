"""Part `first`: whole processes of recipe=bottleneck on a few hundred photos, as a user starts them."""

from functools import partial

from thaw_lab import sample_images
from thaw_lab.benchmark.measure import Measurement, PartRunner, median_figure, run_alternating
from thaw_lab.benchmark.part_result import BenchmarkRow, PartResult
from thaw_lab.benchmark.parts import two_stages

NETWORK = "efficientnet_lite0"
# what changes, and the most seconds of the whole process
RUNS = {"first run": ((), 15.0), "another learning rate": (("optimizer.learning_rate=3e-3",), 9.0)}
NOTE = (
    "first: `python train.py recipe=bottleneck` with EfficientNet-Lite0 on {photos} photos of 500x375, whole processes "
    "with Python's start and imports; first with an empty cache, then with another learning rate. Targets are for two "
    "cores with AVX-512 bfloat16, without AMX, and 400 photos."
)


def first(runner: PartRunner) -> PartResult:
    """Measure the first run on new photos, and the next one."""
    folder = sample_images.photo_folder(runner.work_dir, runner.config.first_photos, with_test=False)
    network = two_stages.network_overrides(NETWORK, None, two_stages.input_size(runner, NETWORK))
    overrides = ["recipe=bottleneck", *network, "dataset=image_folder", f"dataset.path={folder}"]

    def train(name: str, repeat: int) -> Measurement:
        run_dir = f"first-{list(RUNS).index(name)}-{repeat}"
        return runner.run_command(name, run_dir, *overrides, f"cache.dir=cache-first-{repeat}", *RUNS[name][0])

    rows = []
    for name, repeats in run_alternating(runner.config.repeats, {name: partial(train, name) for name in RUNS}).items():
        seconds = median_figure(repeats, lambda measured: measured.wall_seconds)
        rows.append(BenchmarkRow(runner.part, f"first, {name}: process", "s", None, seconds, RUNS[name][1]))
    return PartResult(rows, [NOTE.format(photos=runner.config.first_photos)])

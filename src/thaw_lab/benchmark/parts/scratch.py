"""Part `scratch`: the baseline CNN from random weights."""

from statistics import median

from thaw_lab import small_images
from thaw_lab.benchmark.measure import Measurement, PartRunner, median_figure, run_alternating
from thaw_lab.benchmark.outcome import PartResult
from thaw_lab.tables import BenchmarkRow

NOTE = (
    "scratch: the baseline CNN on {count:,} images of 32 pixels ({kind}), images/s in training, batches of 32, median "
    "of the epochs but the first, validation left out. Keras: `fit` in float32 on arrays in memory, "
    "`from_tensor_slices.shuffle.batch.prefetch`. thaw: `train.py recipe=scratch` on an image folder, precision=auto."
)


def scratch(bench: PartRunner) -> PartResult:
    """Images a second in training."""
    config = bench.config
    folder, arrays, kind = small_images.cifar_like(bench.work, bench.root / "data" / "cifar10", config.small_images)

    def keras(repeat: int) -> Measurement:
        return bench.run_module(
            "baseline CNN", "Keras", "keras_scripts.keras_cnn", "--arrays", arrays, "--epochs", config.epochs
        )

    def thaw(repeat: int) -> Measurement:
        return bench.run_training(
            "baseline CNN", f"scratch-{repeat}", "recipe=scratch", "dataset=image_folder", f"dataset.path={folder}",
            f"scratch.epochs={config.epochs}", "cache.dir=cache-scratch",
        )  # fmt: skip

    found = run_alternating(config.repeats, {"Keras": keras, "thaw": thaw})
    speeds = median_figure(found["Keras"], lambda ran: ran.images_per_second), median_figure(found["thaw"], _speed)
    row = BenchmarkRow(bench.part, "scratch: the baseline CNN", "images/s", *speeds, 2.0)
    return PartResult([row], NOTE.format(count=config.small_images, kind=kind))


def _speed(ran: Measurement) -> float:
    return float(median(entry["images_per_second"] for entry in ran.report["history"][1:]))

"""Part `stages`: the two-stage script by hand against train.py, first run with an empty cache."""

from math import sqrt
from pathlib import Path
from statistics import fmean

from thaw_lab import sample_images
from thaw_lab.benchmark.keras_scripts import keras_networks
from thaw_lab.benchmark.measure import Measurement, Measurements, PartRunner, median_figure, run_alternating
from thaw_lab.benchmark.part_result import BenchmarkRow, PartResult

# thaw's freeze, the script's, the target. 249 layers are those through mixed8.
FREEZES = (("172", "172", 4.0), ("mixed8", "249", 7.0))
NOTE = (
    "stages: {epochs}+{epochs} epochs on {photos} photos, a tenth of them test, a ninth of the rest validation. work: "
    "seconds without imports; the script's from building the network to the test accuracy; thaw's `seconds.total`, "
    "which adds checking and hashing of photos, weights and frozen layers, tracking, the report, the saved network and "
    "parity, and begins with an empty cache. process: with Python's start and imports. Both start InceptionV3 from the "
    "same random weights (its ImageNet weights are a download) and update the statistics of thawed BatchNorm "
    "(finetune.batchnorm=trainable, as the script does). The accuracy is of EfficientNet-Lite0 with its real weights, "
    "frozen through block6c, on {photos} handwritten digits, on the same test images; ± two standard errors of the "
    "difference."
)


def stages(runner: PartRunner) -> PartResult:
    """Measure seconds for two stages of InceptionV3, and whether both sides come to the same accuracy."""
    config = runner.config
    folder = sample_images.photo_folder(runner.work_dir, config.photos, with_test=True)
    weights = random_weights_file(runner, "inceptionv3")
    rows = []
    for freeze, script_freeze, target in FREEZES:
        label = f"stages, freeze={freeze}"
        sides = _compare(runner, f"freeze={freeze}", folder, "inceptionv3", weights, freeze, script_freeze)
        keras, thaw = (median_figure(repeats, lambda measured: measured.seconds) for repeats in sides.values())
        rows.append(BenchmarkRow(runner.part, f"{label}: work", "s", keras, thaw, target))
        keras, thaw = (median_figure(repeats, lambda measured: measured.wall_seconds) for repeats in sides.values())
        rows.append(BenchmarkRow(runner.part, f"{label}: process", "s", keras, thaw))
        rows.append(_accuracy_row(runner, f"{label}, random weights", sides, "val"))
    digits = sample_images.digits_folder(runner.work_dir, config.photos)
    sides = _compare(runner, "accuracy", digits, "efficientnet_lite0", None, "block6c", "block6c_add")
    rows.append(_accuracy_row(runner, "stages, real weights, digits", sides, "val"))
    test_images = sum(1 for _ in (digits / "test").glob("*/*.png"))
    rows.append(_accuracy_row(runner, "stages, real weights, digits", sides, "test", test_images))
    return PartResult(rows, NOTE.format(epochs=config.epochs, photos=config.photos))


def input_size(runner: PartRunner, name: str) -> int:
    """Return the side of the input in pixels: `image_size`, or the network's own."""
    return runner.config.image_size or keras_networks.image_size(name)


def random_weights_file(runner: PartRunner, name: str) -> Path:
    """Return a file of a network's random weights, made once, from which both sides start."""
    size = input_size(runner, name)
    file = runner.work_dir / f"{name}-{size}.weights.h5"
    if not file.exists():
        arguments = ("--network", name, "--size", size, "--file", file)
        runner.run_module("random weights", "Keras", "keras_scripts.keras_networks", *arguments)
    return file


def run_keras_script(
    runner: PartRunner, what: str, folder: Path, name: str, size: int, epochs: int, *more: object
) -> Measurement:
    """Run the two-stage script by hand with so many epochs of the second stage."""
    return runner.run_module(
        what, "Keras", "keras_scripts.keras_two_stages", "--photos", folder, "--network", name, "--size", size,
        "--head-epochs", runner.config.epochs, "--epochs", epochs, "--validation", 1 / 9, *more,
    )  # fmt: skip


def network_overrides(name: str, weights: Path | None, size: int) -> list[str]:
    """Return train.py's overrides for a network. weights: None for its ImageNet weights."""
    return [f"backbone={name}", f"backbone.image_size={size}", *([f"backbone.weights={weights}"] if weights else [])]


def dataset_overrides(folder: Path) -> list[str]:
    """Return train.py's overrides for a folder with train/ and test/."""
    return ["dataset=image_folder", f"dataset.path={folder}", f"dataset.val_fraction={1 / 9}"]


def _compare(
    runner: PartRunner, what: str, folder: Path, name: str, weights: Path | None, freeze: str, script_freeze: str
) -> Measurements:
    epochs, size = runner.config.epochs, input_size(runner, name)

    def keras(repeat: int) -> Measurement:
        more = ["--freeze", script_freeze, "--seed", repeat, *(["--weights", weights] if weights else [])]
        return run_keras_script(runner, what, folder, name, size, epochs, *more)

    def thaw(repeat: int) -> Measurement:
        return runner.run_training(
            what, f"stages-{name}-{freeze}-{repeat}", *network_overrides(name, weights, size),
            *dataset_overrides(folder), f"seed={repeat}", f"finetune.freeze={freeze}", "finetune.batchnorm=trainable",
            f"finetune.epochs={epochs}", f"finetune.head_epochs={epochs}", f"cache.dir=cache-{name}-{freeze}-{repeat}",
        )  # fmt: skip

    sides = run_alternating(runner.config.repeats, {"Keras": keras, "thaw": thaw})
    frozen = {sides["Keras"][0].report["frozen_layers"], sides["thaw"][0].report["stages"][-1]["frozen_layers"]}
    assert len(frozen) == 1, f"{what}: the two sides froze different layers: {frozen}"
    return sides


def _accuracy_row(
    runner: PartRunner, what: str, sides: Measurements, split: str, test_images: int | None = None
) -> BenchmarkRow:
    """Return the mean accuracies of the repeats, which differ by their seed. test_images: for the margin of chance."""
    keras = fmean(measured.report[f"{split}_accuracy"] for measured in sides["Keras"])
    thaw = fmean(measured.report["metrics"][f"{split}/accuracy"] for measured in sides["thaw"])
    margin = accuracy_margin((keras + thaw) / 2, test_images) if test_images else None
    return BenchmarkRow(runner.part, f"{what}: {split} accuracy", "accuracy", keras, thaw, margin)


def accuracy_margin(accuracy: float, images: int) -> float:
    """Return two standard errors of the difference of two accuracies on so many images, measured independently.

    The repeats share their test images, so they do not make it smaller; one image is the least difference there is.
    """
    return max(2 * sqrt(2 * accuracy * (1 - accuracy) / images), 1 / images)

"""Part `stages`: the two-stage script by hand against train.py, first run with an empty cache."""

from collections.abc import Sequence
from functools import partial
from math import sqrt
from pathlib import Path
from statistics import fmean

from thaw_lab import sample_images
from thaw_lab.benchmark.keras_scripts import keras_networks
from thaw_lab.benchmark.measure import Measurement, Measurements, PartRunner, median_figure, run_alternating
from thaw_lab.benchmark.part_result import BenchmarkRow, PartResult

# thaw's freeze, the script's, and the least ratio by epochs of each stage. 249 layers are those through mixed8.
FREEZES = (("172", "172", {1: 2.7, 3: 3.0}), ("mixed8", "249", {3: 4.5}))
BATCHNORM = ("trainable", "frozen")  # as the script does; as thaw does by default
NOTE = (
    "stages: {epochs}+{epochs} epochs on {photos} photos, a tenth of them test, a ninth of the rest validation; whole"
    " processes with Python's start and imports, `python train.py` with an empty cache. thaw also checks and hashes "
    "photos, weights and frozen layers, tracks, and writes the report and the saved network, with parity. Both start "
    "InceptionV3 from the same random weights (its ImageNet weights are a download). The script updates the "
    "statistics of thawed BatchNorm, as finetune.batchnorm=trainable does; batchnorm=frozen is thaw's default. "
    "Targets are for two cores with AVX-512 bfloat16, without AMX. The accuracy is of EfficientNet-Lite0 with its "
    "real weights, frozen through block6c, on {photos} handwritten digits, on the same test images; ± two standard "
    "errors of the difference."
)


def stages(runner: PartRunner) -> PartResult:
    """Measure seconds for two stages of InceptionV3, and whether both sides come to the same accuracy."""
    config = runner.config
    folder = sample_images.photo_folder(runner.work_dir, config.photos, with_test=True)
    weights = random_weights_file(runner, "inceptionv3")
    rows = []
    for freeze, script_freeze, targets in FREEZES:
        label, target = f"stages, freeze={freeze}", targets.get(config.epochs)
        sides = _compare(runner, f"freeze={freeze}", folder, "inceptionv3", weights, freeze, script_freeze, BATCHNORM)
        seconds = {side: median_figure(repeats, lambda one: one.wall_seconds) for side, repeats in sides.items()}
        rows += [
            BenchmarkRow(
                runner.part,
                f"{label}, batchnorm={batchnorm}: process",
                "s",
                seconds["Keras"],
                seconds[batchnorm],
                target,
            )
            for batchnorm in BATCHNORM
        ]
        rows.append(_accuracy_row(runner, f"{label}, random weights", sides, "val"))
    digits = sample_images.digits_folder(runner.work_dir, config.photos)
    sides = _compare(runner, "accuracy", digits, "efficientnet_lite0", None, "block6c", "block6c_add", ("trainable",))
    rows.append(_accuracy_row(runner, "stages, real weights, digits", sides, "val"))
    test_images = sum(1 for _ in (digits / "test").glob("*/*.png"))
    rows.append(_accuracy_row(runner, "stages, real weights, digits", sides, "test", test_images))
    return PartResult(rows, [NOTE.format(epochs=config.epochs, photos=config.photos)])


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
    runner: PartRunner,
    what: str,
    folder: Path,
    name: str,
    weights: Path | None,
    freeze: str,
    script_freeze: str,
    batchnorm: Sequence[str],
) -> Measurements:
    """Run the script and train.py, the latter with each `finetune.batchnorm`, whose name is its side's."""
    epochs, size = runner.config.epochs, input_size(runner, name)

    def keras(repeat: int) -> Measurement:
        more = ["--freeze", script_freeze, "--seed", repeat, *(["--weights", weights] if weights else [])]
        return run_keras_script(runner, what, folder, name, size, epochs, *more)

    def thaw(value: str, repeat: int) -> Measurement:
        run = f"{name}-{freeze}-{value}-{repeat}"
        return runner.run_command(
            f"{what}, batchnorm={value}", f"stages-{run}", *network_overrides(name, weights, size),
            *dataset_overrides(folder), f"seed={repeat}", f"finetune.freeze={freeze}", f"finetune.batchnorm={value}",
            f"finetune.epochs={epochs}", f"finetune.head_epochs={epochs}", f"cache.dir=cache-{run}",
        )  # fmt: skip

    thaw_sides = {value: partial(thaw, value) for value in batchnorm}
    sides = run_alternating(runner.config.repeats, {"Keras": keras, **thaw_sides})
    frozen = {sides["Keras"][0].report["frozen_layers"]}
    frozen |= {sides[value][0].report["stages"][-1]["frozen_layers"] for value in batchnorm}
    assert len(frozen) == 1, f"{what}: the sides froze different layers: {frozen}"
    return sides


def _accuracy_row(
    runner: PartRunner, what: str, sides: Measurements, split: str, test_images: int | None = None
) -> BenchmarkRow:
    """Return the mean accuracies of the repeats, which differ by their seed. test_images: for the margin of chance."""
    keras = fmean(measured.report[f"{split}_accuracy"] for measured in sides["Keras"])
    thaw = fmean(measured.report["metrics"][f"{split}/accuracy"] for measured in sides["trainable"])
    margin = accuracy_margin((keras + thaw) / 2, test_images) if test_images else None
    return BenchmarkRow(runner.part, f"{what}: {split} accuracy", "accuracy", keras, thaw, margin)


def accuracy_margin(accuracy: float, images: int) -> float:
    """Return two standard errors of the difference of two accuracies on so many images, measured independently.

    The repeats share their test images, so they do not make it smaller; one image is the least difference there is.
    """
    return max(2 * sqrt(2 * accuracy * (1 - accuracy) / images), 1 / images)

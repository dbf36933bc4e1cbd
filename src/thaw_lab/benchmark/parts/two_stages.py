"""Part `stages`: the two-stage script by hand against train.py, first run with an empty cache."""

from math import sqrt
from pathlib import Path

from thaw_lab import photos, small_images
from thaw_lab.benchmark.keras_scripts import keras_networks
from thaw_lab.benchmark.measure import Measurement, PartRunner, median_figure, run_alternating
from thaw_lab.benchmark.outcome import PartResult
from thaw_lab.tables import BenchmarkRow

# thaw's freeze, the script's, the target. 249 layers are those through mixed8.
SPEED = (("172", "172", 4.0), ("mixed8", "249", 7.0))
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


def stages(bench: PartRunner) -> PartResult:
    """Seconds for two stages of InceptionV3, and whether both sides come to the same accuracy."""
    config = bench.config
    folder = photos.photo_folder(bench.work, config.photos, with_test=True)
    size = config.image_size or keras_networks.image_size("inceptionv3")
    weights = random_weights_file(bench, "inceptionv3", size)
    rows = []
    for freeze, number, target in SPEED:
        found = _both(bench, f"freeze={freeze}", folder, "inceptionv3", weights, (freeze, number))
        rows += _seconds(bench, freeze, found, target)
        rows.append(_accuracy(bench, f"stages, freeze={freeze}, random weights", found, None, "val"))
    digits = small_images.digits_folder(bench.work, config.photos)
    real = _both(bench, "accuracy", digits, "efficientnet_lite0", None, ("block6c", "block6c_add"))
    tests = sum(1 for _ in (digits / "test").glob("*/*.png"))
    rows.append(_accuracy(bench, "stages, real weights, digits", real, None, "val"))
    rows.append(_accuracy(bench, "stages, real weights, digits", real, tests, "test"))
    return PartResult(rows, NOTE.format(epochs=config.epochs, photos=config.photos))


def random_weights_file(bench: PartRunner, name: str, size: int) -> Path:
    """A file of random weights, made once, from which both sides start."""
    file = bench.work / f"{name}-{size}.weights.h5"
    if not file.exists():
        bench.run_module(
            "random weights", "Keras", "keras_scripts.random_weights", "--network", name, "--size", size, "--file", file
        )
    return file


def _both(
    bench: PartRunner, what: str, folder: Path, name: str, weights: Path | None, freeze: tuple[str, str]
) -> dict[str, list[Measurement]]:
    config = bench.config
    size = config.image_size or keras_networks.image_size(name)

    def keras(repeat: int) -> Measurement:
        given = ["--photos", folder, "--network", name, "--size", size, "--freeze", freeze[1], "--seed", repeat]
        given += ["--head-epochs", config.epochs, "--epochs", config.epochs, "--validation", 1 / 9]
        given += ["--weights", weights] if weights else []
        return bench.run_module(what, "Keras", "keras_scripts.keras_two_stages", *given)

    def thaw(repeat: int) -> Measurement:
        return bench.run_training(
            what, f"stages-{name}-{freeze[0]}-{repeat}", *network_overrides(name, weights, size),
            *dataset_overrides(folder), f"seed={repeat}",
            f"finetune.freeze={freeze[0]}", "finetune.batchnorm=trainable", f"finetune.epochs={config.epochs}",
            f"finetune.head_epochs={config.epochs}", f"cache.dir=cache-{name}-{freeze[0]}-{repeat}",
        )  # fmt: skip

    found = run_alternating(config.repeats, {"Keras": keras, "thaw": thaw})
    frozen = {found["Keras"][0].report["frozen_layers"], found["thaw"][0].report["stages"][-1]["frozen_layers"]}
    assert len(frozen) == 1, f"{what}: the two sides froze different layers: {frozen}"
    return found


def network_overrides(name: str, weights: Path | None, size: int) -> list[str]:
    """train.py's overrides for a network; weights: None for its ImageNet weights."""
    return [f"backbone={name}", f"backbone.image_size={size}", *([f"backbone.weights={weights}"] if weights else [])]


def dataset_overrides(folder: Path) -> list[str]:
    """train.py's overrides for a folder with train/ and test/."""
    return ["dataset=image_folder", f"dataset.path={folder}", f"dataset.val_fraction={1 / 9}"]


def _seconds(bench: PartRunner, freeze: str, found: dict[str, list[Measurement]], target: float) -> list[BenchmarkRow]:
    work = [median_figure(found[side], lambda ran: ran.seconds) for side in ("Keras", "thaw")]
    whole = [median_figure(found[side], lambda ran: ran.wall_seconds) for side in ("Keras", "thaw")]
    return [
        BenchmarkRow(bench.part, f"stages, freeze={freeze}: work", "s", work[0], work[1], target),
        BenchmarkRow(bench.part, f"stages, freeze={freeze}: process", "s", whole[0], whole[1]),
    ]


def _accuracy(
    bench: PartRunner, what: str, found: dict[str, list[Measurement]], tests: int | None, split: str
) -> BenchmarkRow:
    """Mean accuracy of the repeats, which differ by their seed. tests: test images, for the margin of chance."""
    keras = [ran.report[f"{split}_accuracy"] for ran in found["Keras"]]
    thaw = [ran.report["metrics"][f"{split}/accuracy"] for ran in found["thaw"]]
    mean = [sum(side) / len(side) for side in (keras, thaw)]
    margin = accuracy_margin(sum(mean) / 2, tests) if tests else None
    return BenchmarkRow(bench.part, f"{what}: {split} accuracy", "accuracy", mean[0], mean[1], margin)


def accuracy_margin(accuracy: float, images: int) -> float:
    """Two standard errors of the difference of two accuracies on so many images, each measured independently.

    The repeats share their test images, so they do not make it smaller; one image is the least difference there is.
    """
    return max(2 * sqrt(2 * accuracy * (1 - accuracy) / images), 1 / images)

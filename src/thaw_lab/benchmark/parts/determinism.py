"""Part `determinism`: what it costs that the same command gives the same weights, bit for bit."""

from collections.abc import Callable
from statistics import median

from thaw_lab import photos, small_images
from thaw_lab.benchmark.measure import Measurement, PartRunner, median_figure, run_alternating
from thaw_lab.benchmark.outcome import PartResult
from thaw_lab.benchmark.parts.two_stages import dataset_overrides
from thaw_lab.tables import BenchmarkRow

SIZE = 96
NOTE = (
    "determinism: images/s in training with deterministic=true, the default, and with deterministic=false, median of "
    "the epochs but the first, validation left out. The baseline CNN from scratch on {small:,} images of 32 pixels "
    "({kind}); MobileNetV2 from random weights at {size} px, its upper half thawed with batchnorm=trainable, on "
    "{photos} photos, frozen activations kept. deterministic=true is slower by: {costs}."
)


def determinism(bench: PartRunner) -> PartResult:
    """Images a second with and without determinism, of a small network and of one with BatchNorm in training."""
    config = bench.config
    size = config.image_size or SIZE
    folder, _, kind = small_images.cifar_like(bench.work, bench.root / "data" / "cifar10", config.small_images)
    networks: dict[str, list[object]] = {
        "baseline CNN": [
            "recipe=scratch", "dataset=image_folder", f"dataset.path={folder}", f"scratch.epochs={config.epochs}",
        ],
        "MobileNetV2": [
            "recipe=finetune", "backbone=mobilenetv2", "backbone.weights=none", f"backbone.image_size={size}",
            "finetune.freeze=0.5", "finetune.batchnorm=trainable", "finetune.head_epochs=1",
            f"finetune.epochs={config.epochs}",
            *dataset_overrides(photos.photo_folder(bench.work, config.photos, with_test=True)),
        ],
    }  # fmt: skip
    rows, costs = [], []
    for name, given in networks.items():
        found = run_alternating(config.repeats, {kept: _side(bench, name, kept, given) for kept in ("true", "false")})
        speeds = {kept: median_figure(ran, _speed) for kept, ran in found.items()}
        rows += [
            BenchmarkRow(bench.part, f"determinism, {name}: deterministic={kept}", "images/s", None, speed)
            for kept, speed in speeds.items()
        ]
        costs.append(f"{name} {1 - speeds['true'] / speeds['false']:.1%}")
    counts = {"small": config.small_images, "photos": config.photos}
    return PartResult(rows, NOTE.format(**counts, kind=kind, size=size, costs=", ".join(costs)))


def _side(bench: PartRunner, name: str, kept: str, given: list[object]) -> Callable[[int], Measurement]:
    def run(repeat: int) -> Measurement:
        own = f"determinism-{name.replace(' ', '-')}-{kept}-{repeat}"
        what = f"{name}, deterministic={kept}"
        return bench.run_training(what, own, *given, f"deterministic={kept}", "cache.dir=cache-determinism")

    return run


def _speed(ran: Measurement) -> float:
    """Of the last stage's epochs but its first, which compiles."""
    entries = ran.report["history"]
    last = [entry for entry in entries if entry["stage"] == entries[-1]["stage"]]
    return float(median(entry["images_per_second"] for entry in last[1:]))

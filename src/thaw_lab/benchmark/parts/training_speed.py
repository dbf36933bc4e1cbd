"""Parts `scratch` and `determinism`: images/s in training, against Keras and with deterministic=false."""

from functools import partial
from statistics import median

from thaw_lab import sample_images
from thaw_lab.benchmark.measure import Measurement, PartRunner, median_figure, run_alternating
from thaw_lab.benchmark.part_result import BenchmarkRow, PartResult
from thaw_lab.benchmark.parts.two_stages import dataset_overrides

MOBILENET_SIZE = 96  # pixels
SCRATCH_NOTE = (
    "scratch: the baseline CNN on {count:,} images of 32 pixels ({kind}), images/s in training, batches of 32, median "
    "of the epochs but the first, validation left out. Keras: `fit` in float32 on arrays in memory, "
    "`from_tensor_slices.shuffle.batch.prefetch`. thaw: `train.py recipe=scratch` on an image folder, precision=auto. "
    "The target is for a CPU with AMX."
)
DETERMINISM_NOTE = (
    "determinism: images/s in training with deterministic=true, the default, and with deterministic=false, median of "
    "the epochs but the first, validation left out. The baseline CNN from scratch on {small:,} images of 32 pixels "
    "({kind}); MobileNetV2 from random weights at {size} px, its upper half thawed with batchnorm=trainable, on "
    "{photos} photos, frozen activations kept. deterministic=true is slower by: {costs}."
)


def scratch(runner: PartRunner) -> PartResult:
    """Measure the training of the baseline CNN from random weights."""
    config = runner.config
    folder, arrays, kind = sample_images.cifar_like(runner.work_dir, runner.root, config.small_images)
    what, overrides = "baseline CNN", [*_scratch_overrides(runner, folder), "cache.dir=cache-scratch"]

    def keras(repeat: int) -> Measurement:
        arguments = ("--arrays", arrays, "--epochs", config.epochs)
        return runner.run_module(what, "Keras", "keras_scripts.keras_cnn", *arguments)

    def thaw(repeat: int) -> Measurement:
        return runner.run_training(what, f"scratch-{repeat}", *overrides)

    sides = run_alternating(config.repeats, {"Keras": keras, "thaw": thaw})
    keras_speed = median_figure(sides["Keras"], lambda measured: measured.images_per_second)
    thaw_speed = median_figure(sides["thaw"], _training_speed)
    row = BenchmarkRow(runner.part, "scratch: the baseline CNN", "images/s", keras_speed, thaw_speed, 2.0)
    return PartResult([row], [SCRATCH_NOTE.format(count=config.small_images, kind=kind)])


def determinism(runner: PartRunner) -> PartResult:
    """Measure what it costs that a command gives the same weights bit for bit, also with BatchNorm in training."""
    config = runner.config
    size = config.image_size or MOBILENET_SIZE
    folder, _, kind = sample_images.cifar_like(runner.work_dir, runner.root, config.small_images)
    photos = sample_images.photo_folder(runner.work_dir, config.photos, with_test=True)
    networks = {
        "baseline CNN": _scratch_overrides(runner, folder),
        "MobileNetV2": [
            "recipe=finetune", "backbone=mobilenetv2", "backbone.weights=none", f"backbone.image_size={size}",
            "finetune.freeze=0.5", "finetune.batchnorm=trainable", "finetune.head_epochs=1",
            f"finetune.epochs={config.epochs}", *dataset_overrides(photos),
        ],
    }  # fmt: skip

    def train(name: str, value: str, repeat: int) -> Measurement:
        what, run_dir = f"{name}, deterministic={value}", f"determinism-{name.replace(' ', '-')}-{value}-{repeat}"
        more = (f"deterministic={value}", "cache.dir=cache-determinism")
        return runner.run_training(what, run_dir, *networks[name], *more)

    rows, costs = [], []
    for name in networks:
        sides = run_alternating(config.repeats, {value: partial(train, name, value) for value in ("true", "false")})
        speeds = {value: median_figure(repeats, _training_speed) for value, repeats in sides.items()}
        for value, speed in speeds.items():
            what = f"determinism, {name}: deterministic={value}"
            rows.append(BenchmarkRow(runner.part, what, "images/s", None, speed))
        costs.append(f"{name} {1 - speeds['true'] / speeds['false']:.1%}")
    counts = {"small": config.small_images, "photos": config.photos}
    note = DETERMINISM_NOTE.format(**counts, kind=kind, size=size, costs=", ".join(costs))
    return PartResult(rows, [note])


def _scratch_overrides(runner: PartRunner, folder: object) -> list[str]:
    dataset = ["dataset=image_folder", f"dataset.path={folder}"]
    return ["recipe=scratch", *dataset, f"scratch.epochs={runner.config.epochs}"]


def _training_speed(measured: Measurement) -> float:
    """Return the median images/s of the last stage's epochs but its first, which compiles."""
    history = measured.report["history"]
    epochs = [epoch for epoch in history if epoch["stage"] == history[-1]["stage"]]
    return float(median(epoch["images_per_second"] for epoch in epochs[1:]))

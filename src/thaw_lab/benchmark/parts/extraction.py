"""Parts `extract` and `jpeg`: pooled features, from pixels in memory and from photos."""

import importlib.util
from functools import partial
from pathlib import Path

from thaw.config.schema import Config
from thaw_lab import sample_images
from thaw_lab.benchmark import torch_scripts
from thaw_lab.benchmark.measure import Measurement, Measurements, PartRunner, median_figure, run_alternating
from thaw_lab.benchmark.part_result import BenchmarkRow, LimitRow, PartResult
from thaw_lab.benchmark.parts import chip

TARGETS = {"inceptionv3": 3.0, "vgg16": 3.0, "resnet50": 4.0, "mobilenetv2": 4.0, "efficientnet_lite0": 4.0}
JPEG_TARGET = 2.5
INT8_TARGET = 3.0  # against float32 on the same engine
NO_INT8_TARGET = ("vgg16",)
PRECISIONS = ("float32", "bfloat16", "int8")
TORCH_SCRIPT = Path(torch_scripts.__file__).with_name("torch_speed.py")
EXTRACT_NOTE = (
    "extract: images/s from uint8 arrays in memory to pooled features, preprocessing included, after one warm "
    "batch. Keras: `preprocess_input` and `predict`, float32, batches of 32. thaw: engine=auto, each "
    "frozen_precision. Targets against Keras are for the precision that `auto` chooses, on a CPU with AMX; those of "
    "int8 for AVX-512 with bfloat16, without AMX. int8 is calibrated on random images: what it does to accuracy is in "
    "docs/measured/accuracy.md."
)
SHARE_NOTE = (
    "Shares of the limit: all multiplications with kernels and their additions, for an image times images/s, by the "
    "product of matrices in the same precision. Networks with depthwise convolutions (MobileNetV2, EfficientNet-Lite0) "
    "cannot come near it: these do few operations for each number that they read, so memory holds them up."
)
TORCH_NOTE = (
    "PyTorch forward: bfloat16 weights, channels_last, inference_mode, batches of 32, from the same pixels; "
    "torchvision's networks, and EfficientNet-Lite0 of the same layers."
)
JPEG_NOTE = (
    "jpeg: the same from 500x375 JPEG files. Keras: `image_dataset_from_directory`, `prefetch`, `predict`. thaw: "
    "from files to kept activations with an empty cache: listing, hashing, checking, decoding and writing of "
    "pixels and activations are included. Targets are for a CPU with AMX."
)


def extract(runner: PartRunner, name: str) -> PartResult:
    """Measure a network's images/s from uint8 arrays in memory to pooled features, in every precision."""
    config = runner.config
    images = _arguments(runner, name, ["--images", config.images])
    precisions = available_precisions()
    sides = {"Keras": partial(_run_keras, runner, name, images)}
    for precision in precisions:
        sides[precision] = partial(_run_thaw, runner, f"{name}, {precision}", [*images, "--precision", precision])
    if config.pytorch:
        sides["PyTorch"] = partial(_run_pytorch, runner, name)
    library = "openvino" if importlib.util.find_spec("openvino") else "tensorflow"
    sides[library] = partial(chip.run_limits, runner, library, f"{name}, limits")
    measured = run_alternating(config.repeats, sides)
    notes = [EXTRACT_NOTE, SHARE_NOTE, chip.limits_note(), *[TORCH_NOTE] * bool(config.pytorch)]
    if "int8" not in precisions:
        notes.append("extract: int8 is not measured: this thaw has no frozen_precision=int8, or nncf is not installed.")
    notes.append(_conversions(name, {precision: measured[precision] for precision in precisions}))
    return PartResult(_extract_rows(runner, name, measured), notes, limits=_limit_rows(runner, name, measured))


def available_precisions() -> list[str]:
    """Return the precisions that frozen_precision may be here; int8 needs NNCF."""
    choices = Config.__dataclass_fields__["frozen_precision"].metadata["choices"]
    available = [precision for precision in PRECISIONS if precision in choices]
    return available if importlib.util.find_spec("nncf") else [name for name in available if name != "int8"]


def _extract_rows(runner: PartRunner, name: str, measured: Measurements) -> list[BenchmarkRow]:
    speeds = {
        side: median_figure(repeats, lambda one: one.images_per_second)
        for side, repeats in measured.items()
        if side not in chip.NAMES
    }
    auto = measured["float32"][0].report["auto"]
    rows = []
    for precision in (side for side in measured if side in PRECISIONS):
        what = f"extract: {name}, {precision}{' (auto)' if precision == auto else ''}"
        target = TARGETS[name] if precision == auto else None
        rows.append(BenchmarkRow(runner.part, what, "images/s", speeds["Keras"], speeds[precision], target))
        if precision == "int8":
            target, against = None if name in NO_INT8_TARGET else INT8_TARGET, "thaw float32"
            rows.append(
                BenchmarkRow(runner.part, what, "images/s", speeds["float32"], speeds[precision], target, against)
            )
        if precision == "bfloat16" and "PyTorch" in speeds:
            against = "PyTorch bfloat16"
            rows.append(
                BenchmarkRow(runner.part, what, "images/s", speeds["PyTorch"], speeds[precision], None, against)
            )
    return rows


def _limit_rows(runner: PartRunner, name: str, measured: Measurements) -> list[LimitRow]:
    rows = []
    for precision in (side for side in measured if side in PRECISIONS):
        report = measured[precision][0].report
        limits = chip.median_limits(measured[report["engine"]]) if report["engine"] in measured else {}
        if precision in limits:
            speed = median_figure(measured[precision], lambda one: one.images_per_second)
            rows.append(
                LimitRow(
                    runner.part, f"extract: {name}", precision, "GFLOP/s", limits[precision], speed, report["gflop"]
                )
            )
    return rows


def jpeg(runner: PartRunner, name: str) -> PartResult:
    """Measure a network's images/s from JPEG files to pooled features."""
    folder = sample_images.photo_folder(runner.work_dir, runner.config.images, with_test=False)
    images = _arguments(runner, name, ["--photos", folder])
    run = {"Keras": partial(_run_keras, runner, name, images), "thaw": partial(_run_thaw, runner, name, images)}
    sides = run_alternating(runner.config.repeats, run)
    keras, thaw = (median_figure(side, lambda one: one.images_per_second) for side in sides.values())
    precision = sides["thaw"][0].report["precision"]
    row = BenchmarkRow(runner.part, f"jpeg: {name}, {precision} (auto)", "images/s", keras, thaw, JPEG_TARGET)
    return PartResult([row], [JPEG_NOTE, _conversions(name, {precision: sides["thaw"]})])


def _arguments(runner: PartRunner, name: str, images: list[object]) -> list[object]:
    size = runner.config.image_size
    return ["--network", name, *images, *(["--size", size] if size else [])]


def _run_keras(runner: PartRunner, name: str, arguments: list[object], _repeat: int) -> Measurement:
    return runner.run_module(name, "Keras", "keras_scripts.keras_features", *arguments)


def _run_thaw(runner: PartRunner, what: str, arguments: list[object], _repeat: int) -> Measurement:
    return runner.run_module(what, "thaw", "thaw_scripts.thaw_features", *arguments)


def _run_pytorch(runner: PartRunner, name: str, _repeat: int) -> Measurement:
    images = _arguments(runner, name, ["--images", runner.config.images])
    return run_pytorch(runner, name, "forward", *images, "--epochs", 2)


def run_pytorch(runner: PartRunner, name: str, work: str, *arguments: object) -> Measurement:
    """Run the script for PyTorch with the interpreter that the config names."""
    assert runner.config.pytorch
    return runner.run_file(
        f"{name}, {work}", "PyTorch", runner.config.pytorch, TORCH_SCRIPT, "--work", work, *arguments
    )


def _conversions(name: str, repeats: Measurements) -> str:
    """Return how long the engine's conversion of the network took, once a process and not in the figures."""
    seconds = (
        f"{median_figure(measured, lambda one: one.report['convert_seconds']):.1f} s in {precision}"
        for precision, measured in repeats.items()
    )
    engine = next(iter(repeats.values()))[0].report["engine"]
    return f"{name} was converted by {engine} in {', '.join(seconds)}; not in the figures."

"""Part `step`: the training step of a network's thawed part, from activations in memory."""

from functools import partial

from thaw_lab.benchmark import arithmetic
from thaw_lab.benchmark.measure import Measurement, Measurements, PartRunner, median_figure, run_alternating
from thaw_lab.benchmark.part_result import BenchmarkRow, LimitRow, PartResult
from thaw_lab.benchmark.parts import chip, extraction
from thaw_lab.machine import describe_commit

# network: thaw's freeze, the script's
FREEZES = {
    "efficientnet_lite0": ("block3b", "block3b_add"),
    "mobilenetv2": ("100", "100"),
    "inceptionv3": ("172", "172"),
    "resnet50": ("conv4_block6", "conv4_block6_out"),
    "vgg16": ("block3", "block3_pool"),
}
BEFORE_TARGETS = {"efficientnet_lite0": 1.8, "mobilenetv2": 1.5, "inceptionv3": 1.1, "resnet50": 1.1, "vgg16": 1.1}
SHARE_TARGETS = dict.fromkeys(("inceptionv3", "resnet50", "vgg16"), 0.6)
NOTE = (
    "step: images/s of training steps of the thawed part and the head (Dense 1024, 10 classes) with batches of 32, "
    "from random activations in memory; frozen through what `freeze=` says; statistics of thawed BatchNorm are fixed,"
    " its gamma and beta train; SGD with momentum; random weights, but those of ImageNet for EfficientNet-Lite0; "
    "median of the epochs but the first, {images} images each. Keras: `fit` on arrays, float32 and mixed_bfloat16. "
    "thaw: `run_stage` with precision=auto. Targets are for AVX-512 with bfloat16, without AMX."
)
SHARE_NOTE = (
    "Shares of step: multiplications with kernels and their additions of the thawed layers and the head, forward, for "
    "the gradient of the kernel, and for that of the input where weights that train come before; by TensorFlow's "
    "product of matrices, in bfloat16 where part of the step is in bfloat16. Depthwise convolutions, BatchNorm and "
    "activations do few operations for each number that they read: memory holds them up, not arithmetic."
)
TORCH_NOTE = (
    "PyTorch step: autocast to bfloat16, channels_last, from activations in memory like the others; whole: from "
    "pixels, with the frozen part forward, which thaw does once a run. {name} is frozen through {where}."
)


def step(runner: PartRunner, name: str) -> PartResult:
    """Measure the training step of one network's thawed part."""
    config = runner.config
    measured = run_alternating(config.repeats, _sides(runner, name))
    sides = [side for side in measured if side in ("thaw", "before", "Keras float32", "Keras mixed_bfloat16")]
    frozen = {measured[side][0].report["frozen_layers"] for side in sides}
    assert len(frozen) == 1, f"{name}: the sides froze different layers: {frozen}"
    notes = [NOTE.format(images=config.step_images), SHARE_NOTE, chip.limits_note()]
    if config.baseline:
        notes.append(f"before: thaw {describe_commit(config.baseline)}.")
    if config.pytorch:
        notes.append(TORCH_NOTE.format(name=name, where=measured["PyTorch step"][0].report["frozen_through"]))
    return PartResult(step_rows(runner.part, name, measured), notes, limits=_limit_rows(runner.part, name, measured))


def _sides(runner: PartRunner, name: str) -> dict[str, partial[Measurement]]:
    config, (freeze, script_freeze) = runner.config, FREEZES[name]
    common: list[object] = ["--network", name, "--images", config.step_images, "--epochs", config.epochs]
    common += ["--size", config.image_size] if config.image_size else []

    def keras(policy: str, _repeat: int) -> Measurement:
        more = ("--freeze", script_freeze, "--policy", policy)
        return runner.run_module(f"{name}, {policy}", "Keras", "keras_scripts.keras_step", *common, *more)

    def thaw(side: str, checkout: object, _repeat: int) -> Measurement:
        more = ("--freeze", freeze, "--thaw", checkout)
        return runner.run_module(name, side, "thaw_scripts.thaw_step", *common, *more)

    def pytorch(work: str, _repeat: int) -> Measurement:
        return extraction.run_pytorch(runner, name, work, *common)

    sides = {f"Keras {policy}": partial(keras, policy) for policy in ("float32", "mixed_bfloat16")}
    sides["thaw"] = partial(thaw, "thaw", runner.root)
    if config.baseline:
        sides["before"] = partial(thaw, "before", config.baseline)
    if config.pytorch:
        sides |= {f"PyTorch {work}": partial(pytorch, work) for work in ("step", "whole")}
    sides["limits"] = partial(chip.run_limits, runner, "tensorflow", f"{name}, limits")
    return sides


def step_rows(part: str, name: str, measured: Measurements) -> list[BenchmarkRow]:
    """Return thaw's speed against that of every other side."""
    speeds = {
        side: median_figure(repeats, lambda one: one.images_per_second)
        for side, repeats in measured.items()
        if side != "limits"
    }
    thaw, report = speeds.pop("thaw"), measured["thaw"][0].report
    depthwise = f" (depthwise {report['depthwise']})" if report["depthwise"] else ""
    what = f"step: {name}, freeze={FREEZES[name][0]}, {report['precision']}{depthwise}"
    names = {"before": "thaw before", "PyTorch step": "PyTorch bfloat16", "PyTorch whole": "PyTorch bfloat16, whole"}
    return [
        BenchmarkRow(
            part, what, "images/s", speed, thaw, BEFORE_TARGETS[name] if side == "before" else None,
            names.get(side, side),
        )
        for side, speed in speeds.items()
    ]  # fmt: skip


def _limit_rows(part: str, name: str, measured: Measurements) -> list[LimitRow]:
    limits, rows = chip.median_limits(measured["limits"]), []
    for side in (side for side in ("thaw", "before") if side in measured):
        report = measured[side][0].report
        precision = arithmetic.limit_precision(report["precision"])
        speed = median_figure(measured[side], lambda one: one.images_per_second)
        what = f"step: {name}, freeze={FREEZES[name][0]}{', before' if side == 'before' else ''}"
        target = SHARE_TARGETS.get(name) if side == "thaw" else None
        rows.append(LimitRow(part, what, precision, "GFLOP/s", limits[precision], speed, report["gflop"], target))
    return rows

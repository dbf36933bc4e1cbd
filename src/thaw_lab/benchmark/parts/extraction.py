"""Parts `extract` and `jpeg`: pooled features, from pixels in memory and from photos."""

from functools import partial

from thaw_lab import sample_images
from thaw_lab.benchmark.measure import Measurement, PartRunner, median_figure, run_alternating
from thaw_lab.benchmark.part_result import BenchmarkRow, PartResult

TARGETS = {"inceptionv3": 3.0, "vgg16": 3.0, "resnet50": 4.0, "mobilenetv2": 4.0, "efficientnet_lite0": 4.0}
JPEG_TARGET = 2.5
SCRIPTS = {"Keras": "keras_scripts.keras_features", "thaw": "thaw_scripts.thaw_features"}
EXTRACT_NOTE = (
    "extract: images/s from uint8 arrays in memory to pooled features, preprocessing included, after one warm "
    "batch. Keras: `preprocess_input` and `predict`, float32, batches of 32. thaw: engine=auto, precision=auto."
)
JPEG_NOTE = (
    "jpeg: the same from 500x375 JPEG files. Keras: `image_dataset_from_directory`, `prefetch`, `predict`. thaw: "
    "from files to kept activations with an empty cache: listing, hashing, checking, decoding and writing of "
    "pixels and activations are included."
)


def extract(runner: PartRunner) -> PartResult:
    """Measure images/s from uint8 arrays in memory to pooled features."""
    return _compare(runner, ["--images", runner.config.images], TARGETS, EXTRACT_NOTE)


def jpeg(runner: PartRunner) -> PartResult:
    """Measure images/s from JPEG files to pooled features."""
    folder = sample_images.photo_folder(runner.work_dir, runner.config.images, with_test=False)
    return _compare(runner, ["--photos", folder], dict.fromkeys(TARGETS, JPEG_TARGET), JPEG_NOTE)


def _compare(runner: PartRunner, images: list[object], targets: dict[str, float], note: str) -> PartResult:
    config, rows, conversions = runner.config, [], []
    size = ["--size", config.image_size] if config.image_size else []

    def run(name: str, side: str, _repeat: int) -> Measurement:
        return runner.run_module(name, side, SCRIPTS[side], "--network", name, *images, *size)

    for name in config.backbones:
        sides = run_alternating(config.repeats, {side: partial(run, name, side) for side in SCRIPTS})
        keras, thaw = (median_figure(side, lambda measured: measured.images_per_second) for side in sides.values())
        rows.append(BenchmarkRow(runner.part, f"{runner.part}: {name}", "images/s", keras, thaw, targets[name]))
        report = sides["thaw"][0].report
        seconds = median_figure(sides["thaw"], lambda measured: measured.report["convert_seconds"])
        conversions.append(f"{name} {report['engine']} {report['precision']}, converted in {seconds:.1f} s")
    return PartResult(rows, f"{note} Once a process, not in the figures: {'; '.join(conversions)}.")

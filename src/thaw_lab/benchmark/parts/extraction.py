"""Parts `extract` and `jpeg`: pooled features, from pixels in memory and from photos."""

from pathlib import Path

from thaw_lab import photos
from thaw_lab.benchmark.measure import Measurement, PartRunner, median_figure, run_alternating
from thaw_lab.benchmark.outcome import PartResult
from thaw_lab.tables import BenchmarkRow

TARGETS = {"inceptionv3": 3.0, "vgg16": 3.0, "resnet50": 4.0, "mobilenetv2": 4.0, "efficientnet_lite0": 4.0}
JPEG_TARGET = 2.5


def extract(bench: PartRunner) -> PartResult:
    """Images a second from uint8 arrays in memory to pooled features."""
    note = (
        "extract: images/s from uint8 arrays in memory to pooled features, preprocessing included, after one warm "
        "batch. Keras: `preprocess_input` and `predict`, float32, batches of 32. thaw: engine=auto, precision=auto."
    )
    return _features(bench, None, TARGETS, note)


def jpeg(bench: PartRunner) -> PartResult:
    """Images a second from JPEG files to pooled features."""
    folder = photos.photo_folder(bench.work, bench.config.images, with_test=False)
    note = (
        "jpeg: the same from 500x375 JPEG files. Keras: `image_dataset_from_directory`, `prefetch`, `predict`. thaw: "
        "from files to kept activations with an empty cache: listing, hashing, checking, decoding and writing of "
        "pixels and activations are included."
    )
    return _features(bench, folder, dict.fromkeys(TARGETS, JPEG_TARGET), note)


def _features(bench: PartRunner, folder: Path | None, targets: dict[str, float], note: str) -> PartResult:
    rows, converted = [], []
    for name in bench.config.backbones:
        given = ["--network", name, *(["--photos", folder] if folder else ["--images", bench.config.images])]
        if bench.config.image_size:
            given += ["--size", bench.config.image_size]

        def keras(repeat: int, name: str = name, given: list[object] = given) -> Measurement:
            return bench.run_module(name, "Keras", "keras_scripts.keras_features", *given)

        def thaw(repeat: int, name: str = name, given: list[object] = given) -> Measurement:
            return bench.run_module(name, "thaw", "thaw_scripts.thaw_features", *given)

        found = run_alternating(bench.config.repeats, {"Keras": keras, "thaw": thaw})
        speeds = [median_figure(found[side], lambda ran: ran.images_per_second) for side in ("Keras", "thaw")]
        rows.append(BenchmarkRow(bench.part, f"{bench.part}: {name}", "images/s", speeds[0], speeds[1], targets[name]))
        first = found["thaw"][0].report
        seconds = median_figure(found["thaw"], lambda ran: ran.report["convert_seconds"])
        converted.append(f"{name} {first['engine']} {first['precision']}, converted in {seconds:.1f} s")
    return PartResult(rows, f"{note} Once a process, not in the figures: {'; '.join(converted)}.")

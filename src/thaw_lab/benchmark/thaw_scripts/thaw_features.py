"""Pooled features as thaw computes them: of images in memory, or from photos to activations in the cache."""

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thaw_lab.benchmark import arithmetic
from thaw_lab.benchmark.keras_scripts import keras_features

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from thaw.frozen.activations import FrozenPart


def main() -> None:
    """Compute the features and write the speed."""
    parser = keras_features.argument_parser()
    parser.add_argument("--precision", default="auto", help="as frozen_precision")
    args = parser.parse_args()
    started = time.perf_counter()
    from thaw.common import tensorflow_setup

    tensorflow_setup.import_tensorflow()
    from thaw.models import backbones, network  # noqa: F401

    report: dict[str, Any] = {"import_seconds": time.perf_counter() - started}
    frozen, size, gflop, auto = _frozen_part(args.network, args.size, args.precision)
    report |= {"gflop": gflop, "auto": auto}
    started = time.perf_counter()
    frozen.inference_function()
    report["convert_seconds"] = time.perf_counter() - started
    report |= {"engine": frozen.engine_choice.engine, "precision": frozen.engine_choice.frozen}
    if args.photos:
        images, seconds = _from_files(frozen, args.photos, size)
    else:
        images, seconds = _in_memory(frozen, args.images, size)
    report |= {"images": images, "seconds": seconds, "images_per_second": images / seconds}
    Path(args.json).write_text(json.dumps(report))


def _frozen_part(name: str, size: int | None, precision: str) -> tuple["FrozenPart", int, float, str]:
    """Return the network up to its pooled features, its size, its arithmetic, and the precision that `auto` chooses."""
    from thaw.common import tensorflow_setup
    from thaw.common.hardware import detect_hardware
    from thaw.config.schema import BackboneConfig, HeadConfig
    from thaw.frozen import activations, engine
    from thaw.models import backbone_table, backbones, network

    weights = "imagenet" if name == "efficientnet_lite0" else "none"
    config = BackboneConfig(name=name, weights=weights, image_size=size)
    hardware, depthwise = detect_hardware(), backbone_table.backbone_spec(name).depthwise
    auto, choice = (
        engine.choose_engine("auto", "auto", frozen, depthwise=depthwise, trains_backbone=False, hardware=hardware)
        for frozen in ("auto", precision)
    )
    tensorflow_setup.start_tensorflow(0, True)
    backbone = backbones.build_backbone(config)
    joined = network.attach_head(backbone, HeadConfig(name="linear"), ("one", "other"))
    # What int8 is calibrated on does not change its speed.
    calibration: Any = {"calibration": RandomCalibration(backbone.image_size)} if choice.frozen == "int8" else {}
    part = activations.build_frozen_part(joined, network.feature_cut(joined), config, choice, **calibration)
    return part, backbone.image_size, arithmetic.forward_gflop(backbone.graph), auto.frozen


class RandomCalibration:
    """Random images in place of a run's training images, as `frozen.quantization.Calibration` has them."""

    def __init__(self, size: int) -> None:
        self.indices, self._size = range(16), size

    def key(self) -> dict[str, object]:
        """Return what the quantized network depends on; nothing here is cached by it."""
        return {"images": "random"}

    def batches(self) -> "Iterator[npt.NDArray[np.uint8]]":
        """Yield the images, uint8 (B, S, S, 3)."""
        import numpy as np

        for seed in range(2):
            yield np.random.default_rng(seed).integers(0, 256, (8, self._size, self._size, 3), np.uint8)


def _in_memory(frozen: "FrozenPart", count: int, size: int) -> tuple[int, float]:
    import numpy as np

    from thaw.frozen.activation_rows import BATCH_SIZE

    function = frozen.inference_function()
    images = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
    function(images[:32])
    started = time.perf_counter()
    for i in range(0, count, BATCH_SIZE):
        function(images[i : i + BATCH_SIZE])
    return count, time.perf_counter() - started


def _from_files(frozen: "FrozenPart", photos: str, size: int) -> tuple[int, float]:
    """Measure files to activations in an empty cache: listing, hashing, decoding, checking and writing are included."""
    import numpy as np

    from thaw.cache import DiskCache
    from thaw.config.schema import DatasetConfig
    from thaw.data import dataset_table, pixels

    frozen.inference_function()(np.zeros((32, size, size, 3), np.uint8))
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        started = time.perf_counter()
        cache = DiskCache(Path(folder), 20e9)
        catalog = dataset_table.load_named_catalog(DatasetConfig(name="image_folder", path=photos))
        indices = np.arange(len(catalog.labels))
        activations = frozen.cached_activations(cache, pixels.of_catalog(catalog, indices, size, cache), indices)
        seconds = time.perf_counter() - started
        assert activations.rows.misses == len(indices)
    return len(indices), seconds


if __name__ == "__main__":
    main()

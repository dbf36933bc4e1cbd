"""Pooled features as thaw computes them: of images in memory, or from photos to kept activations."""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", required=True)
    parser.add_argument("--size", type=int)
    parser.add_argument("--images", type=int, default=256, help="random images in memory")
    parser.add_argument("--photos", help="folder of class folders, instead of images in memory")
    parser.add_argument("--json", required=True)
    args = parser.parse_args()
    started = time.perf_counter()
    from thaw.common import backend

    backend.import_tensorflow()
    from thaw.models import backbones, network  # noqa: F401

    found: dict[str, Any] = {"import_seconds": time.perf_counter() - started}
    frozen, size = _frozen(args.network, args.size)
    started = time.perf_counter()
    function = frozen.inference_function()
    found["convert_seconds"] = time.perf_counter() - started
    found |= {"engine": frozen.engine_choice.engine, "precision": frozen.engine_choice.frozen}
    images, seconds = _kept(frozen, args.photos, size) if args.photos else _in_memory(function, args.images, size)
    found |= {"images": images, "seconds": seconds, "images_per_second": images / seconds}
    Path(args.json).write_text(json.dumps(found))


def _frozen(name: str, size: int | None) -> tuple[Any, int]:
    """The whole network up to its pooled features, all frozen, on what engine=auto and precision=auto choose."""
    from thaw.common import backend
    from thaw.common.hardware import detect_hardware
    from thaw.config.schema import BackboneConfig, HeadConfig
    from thaw.frozen import engine
    from thaw.frozen.activations import build_frozen_part
    from thaw.models import backbone_table, backbones, network

    weights = "imagenet" if name == "efficientnet_lite0" else "none"
    config = BackboneConfig(name=name, weights=weights, image_size=size)
    row = backbone_table.backbone_spec(name)
    choice = engine.choose_engine(
        "auto", "auto", "auto", depthwise=row.depthwise, trains_backbone=False, hardware=detect_hardware()
    )
    backend.start_tensorflow(0, True)
    built = backbones.build_backbone(config)
    joined = network.attach_head(built, HeadConfig(name="linear"), ("one", "other"))
    return build_frozen_part(joined, network.feature_cut(joined), config, choice), built.image_size


def _in_memory(function: Any, count: int, size: int) -> tuple[int, float]:
    import numpy as np

    from thaw.frozen.activations import BATCH_SIZE

    images = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
    function(images[:32])
    started = time.perf_counter()
    for i in range(0, count, BATCH_SIZE):
        function(images[i : i + BATCH_SIZE])
    return count, time.perf_counter() - started


def _kept(frozen: Any, photos: str, size: int) -> tuple[int, float]:
    """From files to activations in an empty cache: listing, hashing, decoding, checking and writing are part of it."""
    import numpy as np

    from thaw.cache import DiskCache
    from thaw.config.schema import DatasetConfig
    from thaw.data import pixels, sources

    frozen.inference_function()(np.zeros((32, size, size, 3), np.uint8))
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        started = time.perf_counter()
        store = DiskCache(Path(folder), 20e9)
        catalog = sources.load_catalog(DatasetConfig(name="image_folder", path=photos))
        indices = np.arange(len(catalog.labels))
        activations = frozen.cached_activations(store, pixels.from_catalog(catalog, indices, size, store), indices)
        seconds = time.perf_counter() - started
        assert activations.rows.misses == len(indices)
    return len(indices), seconds


if __name__ == "__main__":
    main()

"""Features of real networks on thaw's engine in float32, bfloat16 and int8, kept on disk."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.common import tensorflow_setup
from thaw.config.schema import BackboneConfig, HeadConfig
from thaw.frozen import engine
from thaw.frozen.activation_rows import STORAGE_DTYPES
from thaw_lab.precision_study.study_images import StudyImages

PRECISIONS = ("float32", "bfloat16", "int8")
CALIBRATION_IMAGES = 304


@dataclass(frozen=True)
class StudyNetwork:
    """A network with real weights at an image size."""

    backbone: str
    size: int
    alpha: float | None = None
    weights: str = "imagenet"

    @property
    def label(self) -> str:
        """The name in tables and files."""
        return f"{self.backbone.removeprefix('efficientnet_')}@{self.size}"

    def config(self) -> BackboneConfig:
        """Return the backbone's section of a run's config."""
        return BackboneConfig(name=self.backbone, weights=self.weights, image_size=self.size, alpha=self.alpha)


def study_networks(mobilenet_weights: str) -> list[StudyNetwork]:
    """Return the depthwise networks of which real weights are at hand."""
    lite = [StudyNetwork(f"efficientnet_lite{i}", size) for i, size in ((0, 224), (1, 240), (2, 260), (0, 160))]
    return [lite[0], StudyNetwork("mobilenet", 224, 0.25, mobilenet_weights), *lite[1:]]


class FeatureStore:
    """Features by network, data set, precision and layers, computed once.

    Args:
        folder: where they are kept as .npz files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._pixels: dict[tuple[str, int], npt.NDArray[np.uint8]] = {}

    def features(
        self, network: StudyNetwork, images: StudyImages, layers: str = "pooled"
    ) -> dict[str, list[npt.NDArray[np.float32]]]:
        """Return, by precision, features float32 (N, D) of each layer; `layers` is pooled or blocks."""
        paths = {p: self.folder / f"{images.name}-{network.label}-{layers}-{p}.npz" for p in PRECISIONS}
        if any(not path.exists() for path in paths.values()):
            self._compute(network, images, layers, paths)
        return {p: [loaded[key] for key in loaded.files] for p, path in paths.items() for loaded in [np.load(path)]}

    def _compute(self, network: StudyNetwork, images: StudyImages, layers: str, paths: dict[str, Path]) -> None:
        model = build_feature_model(network, layers)
        pixels = self._pixels_at(images, network.size)
        converted = engine.convert_to_openvino(model)
        calibration = pixels[images.calibration_rows(CALIBRATION_IMAGES)]
        for precision in PRECISIONS:
            function = function_in(precision, model, converted, calibration)
            start = time.process_time()
            outputs = run_in_batches(function, pixels, precision)
            seconds = time.process_time() - start
            np.savez(paths[precision], *outputs)
            print(f"{images.name} {network.label} {layers} {precision}: {seconds:.1f} CPU s", flush=True)

    def _pixels_at(self, images: StudyImages, size: int) -> npt.NDArray[np.uint8]:
        if (images.name, size) not in self._pixels:
            self._pixels = {(images.name, size): images.at_size(size)}
        return self._pixels[images.name, size]


def build_feature_model(network: StudyNetwork, layers: str) -> Any:
    """Return images -> pooled features, as thaw's frozen submodel; or -> the pooled output of every block."""
    tensorflow_setup.start_tensorflow(0, True)
    import keras

    from thaw.models import backbones
    from thaw.models.network import attach_head, feature_cut, frozen_submodel

    backbone = backbones.build_backbone(network.config())
    if layers == "pooled":
        joined = attach_head(backbone, HeadConfig(name="linear"), ("one", "other"))
        return frozen_submodel(joined, feature_cut(joined))
    pool = keras.layers.GlobalAveragePooling2D
    ends = {layer.name.split("_")[0]: layer for layer in backbone.layers if layer.name.startswith("block")}
    return keras.Model(backbone.model.inputs, [pool()(layer.output) for layer in ends.values()], name="blocks")


def function_in(
    precision: str, model: Any, converted: Any, calibration: npt.NDArray[np.uint8]
) -> engine.InferenceFunction:
    """Return the converted network on the engine in this precision; int8 by post-training quantisation."""
    if precision != "int8":
        return engine.InferenceFunction(model, "openvino", precision, converted)
    import nncf  # type: ignore[import-untyped, unused-ignore]

    batches = [calibration[i : i + 8] for i in range(0, len(calibration), 8)]
    return engine.InferenceFunction(model, "openvino", "float32", nncf.quantize(converted, nncf.Dataset(batches)))


def run_in_batches(
    function: engine.InferenceFunction, pixels: npt.NDArray[np.uint8], precision: str
) -> Sequence[npt.NDArray[np.float32]]:
    """Return the outputs for all images, rounded as the cache stores them."""
    dtype = STORAGE_DTYPES["bfloat16" if precision == "bfloat16" else "float32"]
    batches = [function(pixels[i : i + 64]) for i in range(0, len(pixels), 64)]
    return [np.concatenate(parts).astype(dtype).astype(np.float32) for parts in zip(*batches, strict=True)]

"""Each family of backbones in each format: the runtime of the format computes what Keras computes.

Weights are random but for EfficientNet-Lite and MobileNet 0.25. Images are noise, whose classes are nearly equally
likely to a random network, so probabilities are compared, and not classes.
"""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thaw.config.schema import BackboneConfig, HeadConfig
from thaw.export.export_formats import FORMATS
from thaw.frozen.openvino_runtime import sharing_the_core

from .networks import keras_probabilities, noise, source_of

pytestmark = pytest.mark.slow

# The smallest input that each can have and, for depth, more than one position at the end.
FAMILIES = {
    "efficientnet_lite0": 64, "vgg16": 48, "resnet50": 64, "inceptionv3": 139, "densenet121": 64, "mobilenet": 64,
    "mobilenetv2": 64, "mobilenetv3small": 64, "nasnetmobile": 64, "efficientnetb0": 64, "efficientnetv2b0": 64,
    "convnexttiny": 64, "xception": 71,
}  # fmt: skip
# A copy of Keras Applications' file mobilenet_2_5_224_tf_no_top.h5, ImageNet's weights of MobileNet with alpha=0.25.
MOBILENET_FILE = Path(os.environ.get("THAW_TEST_MOBILENET", "mobilenet_2_5_224_tf_no_top.h5"))
CASES = [(row.name, precision) for row in FORMATS.values() for precision in row.precisions]
# Of a probability.
LARGEST = {"float32": 1e-4, "float16": 5e-2, "int8": 0.5}
# In int8 a deep network of random weights may answer anything: its activations lie in no range that images lead to.
# Such an export must load and answer with probabilities; how far int8 is off is tested with real weights.
RANDOM_INT8 = 1.0


@pytest.fixture(scope="module", params=FAMILIES)
def network(request: pytest.FixtureRequest) -> tuple[str, Any]:
    name = request.param
    weights = "imagenet" if name == "efficientnet_lite0" else "none"
    return name, build(BackboneConfig(name=name, weights=weights, image_size=FAMILIES[name]))


def build(config: BackboneConfig) -> Any:
    from thaw.common import tensorflow_setup
    from thaw.models import backbones
    from thaw.models import network as networks

    tensorflow_setup.start_tensorflow(0, None)
    if config.weights == "none":  # the graph with pretrained weights: EfficientNetB0 has a layer more in it
        pretrained = dataclasses.replace(config, weights="imagenet")
        backbone = backbones.from_model(config, next(backbones.build_variants(pretrained)))
    else:
        backbone = backbones.build_backbone(config)
    model = networks.attach_head(backbone, HeadConfig(hidden=16), ("a", "b", "c")).model
    if config.weights == "none":
        fit_batchnorm(model)
    return model


def fit_batchnorm(model: Any) -> None:
    """Take BatchNorm's statistics from images: with those of a new layer signals die out, and any format agrees."""
    import keras

    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in layers:
        layer.momentum = 0.0
    model(noise(model.inputs[0].shape[1], 8).astype(np.float32), training=True)
    for layer in layers:
        layer.momentum = 0.99


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_every_format_computes_what_keras_computes(
    network: tuple[str, Any], name: str, precision: str, tmp_path: Path
) -> None:
    backbone, model = network
    random_int8 = precision == "int8" and backbone != "efficientnet_lite0"
    check(model, name, precision, tmp_path, RANDOM_INT8 if random_int8 else LARGEST[precision])


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_the_real_mobilenet_too(name: str, precision: str, tmp_path: Path) -> None:
    if not MOBILENET_FILE.is_file():
        pytest.skip("THAW_TEST_MOBILENET does not name Keras Applications' mobilenet_2_5_224_tf_no_top.h5")
    config = BackboneConfig(name="mobilenet", alpha=0.25, weights=str(MOBILENET_FILE), image_size=96)
    check(build(config), name, precision, tmp_path, LARGEST[precision])


def check(model: Any, name: str, precision: str, folder: Path, largest: float) -> None:
    row = FORMATS[name]
    source = source_of(model, folder / "kept.keras", precision)
    (folder / "export").mkdir()
    with sharing_the_core():
        row.write(source, folder / "export", precision)
        run: Callable[..., Any] = row.load(folder / "export")
    images = noise(source.image_size, 3)
    found, expected = np.asarray(run(images)), keras_probabilities(model, images)
    assert found.shape == expected.shape
    assert expected.std(axis=0).max() > 0.01  # the network tells the images apart
    assert np.allclose(found.sum(axis=1), 1.0, atol=1e-2)
    assert np.abs(found - expected).max() <= largest

"""Backbones with random weights that see their images, for tests of every family."""

import keras
import numpy as np

from thaw.common import tensorflow_setup
from thaw.config.schema import BackboneConfig
from thaw.models import backbones, network
from thaw.models.backbone_table import BACKBONES

# The smallest of each family; the others differ in depth and width only.
FAMILIES = {
    "cnn",
    "efficientnet_lite0",
    "xception",
    "vgg16",
    "resnet50",
    "resnet50v2",
    "inceptionv3",
    "inceptionresnetv2",
    "mobilenet",
    "mobilenetv2",
    "mobilenetv3small",
    "densenet121",
    "nasnetmobile",
    "efficientnetb0",
    "efficientnetv2b0",
    "convnexttiny",
}


def build(name: str, **options: object) -> backbones.Backbone:
    tensorflow_setup.start_tensorflow(0, deterministic=True)
    size = max(BACKBONES[name].min_size, 64)
    return backbones.build_backbone(BackboneConfig(**{"name": name, "weights": "none", "image_size": size, **options}))


def spread_predictions(joined: network.Network, images: np.ndarray) -> None:
    """Let the head give two images logits that differ by 2 around zero."""
    head = joined.model.get_layer("predictions")
    logits = (
        np.asarray(keras.Model(joined.model.inputs, joined.pooled_features)([images], training=False))
        @ head.kernel.numpy()
    )
    scale = 2 / np.abs(logits[0] - logits[1]).max()
    head.kernel.assign(head.kernel * scale)
    head.bias.assign(-scale * logits.mean(axis=0))


def pictures(size: int, count: int, seed: int) -> np.ndarray:
    """Coarse coloured patterns, float32 (count, size, size, 3), 0-255: unlike each other after any pooling."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3)).astype(np.float32)
    return coarse.repeat(-(-size // 4), axis=1).repeat(-(-size // 4), axis=2)[:, :size, :size]


def calibrated(built: backbones.Backbone) -> backbones.Backbone:
    """Give BatchNorm the statistics of some images: with random weights alone the features fade to zero."""
    normalizations = [x for x in built.layers if hasattr(x, "moving_mean")]
    for x in normalizations:
        x.momentum = 0.0
    for x in built.layers:
        if type(x).__name__ == "LayerScale":  # ConvNeXt's branches begin at a millionth
            x.gamma.assign(np.ones_like(x.gamma))
    if normalizations:
        built.model([pictures(built.image_size, 4, seed=0)], training=True)
    return built

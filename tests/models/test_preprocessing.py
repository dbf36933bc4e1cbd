"""The preprocessing in a network, and where in its graph it ends."""

import keras
import numpy as np
import pytest

from thaw.common import tensorflow_setup
from thaw.config.schema import BackboneConfig
from thaw.models import backbones
from thaw.models.eager_keras import run_between
from thaw.models.preprocessing import PREPROCESSING_MODES, add_preprocessing, preprocessed_tensor

# Of black and white pixels, by channel: lowest and highest.
VALUES = {
    "tf": (-1, 1),
    "caffe": (-123.68, 255 - 103.939),
    "torch": (-0.485 / 0.229, (1 - 0.406) / 0.225),
    "lite": (-127 / 128, 1),
    "unit": (0, 1),
    "built-in": (0, 255),  # nothing is added
}


@pytest.fixture(autouse=True)
def started():
    tensorflow_setup.start_tensorflow(0, deterministic=True)


def values_behind(model: keras.Model, size: int) -> tuple[float, float]:
    images = np.zeros((1, size, size, 3), np.float32)
    images[:, 0] = 255
    (values,) = run_between(model, model.inputs, [images], [preprocessed_tensor(model)])
    return float(np.min(values)), float(np.max(values))


@pytest.mark.parametrize("mode", PREPROCESSING_MODES)
def test_the_values_behind_each_preprocessing_are_known(mode: str) -> None:
    images = keras.Input((8, 8, 3))
    x = add_preprocessing(images, mode)
    model = keras.Model(images, keras.layers.Conv2D(1, 3)(keras.layers.ZeroPadding2D(1)(x)))
    assert preprocessed_tensor(model) is x
    assert values_behind(model, 8) == pytest.approx(VALUES[mode], rel=1e-5)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("mobilenetv3small", -1, 1),
        pytest.param("efficientnetv2b0", -0.485 / 0.229, (1 - 0.406) / 0.225, marks=pytest.mark.slow),
        pytest.param("convnexttiny", -0.485 / 0.229, (1 - 0.406) / 0.225, marks=pytest.mark.slow),
    ],
)
def test_preprocessing_inside_a_backbone_is_found(name: str, low: float, high: float) -> None:
    built = backbones.build_backbone(BackboneConfig(name=name, weights="none", image_size=32))
    assert values_behind(built.model, 32) == pytest.approx((low, high), rel=1e-3)

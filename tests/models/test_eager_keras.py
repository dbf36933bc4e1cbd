"""Networks run operation by operation: the bits of Keras's own call, and no tensor is held after its last reader."""

import gc
import weakref

import numpy as np
import pytest

from thaw.models import backbone_table

# One network of each kind of graph: additions, concatenations, pre-activation, multiplications, operations that are no
# layers, separable convolutions.
BACKBONES = ["resnet50", "inceptionv3", "densenet121", "efficientnetb0", "convnexttiny", "mobilenetv3small", "xception"]


@pytest.fixture(autouse=True)
def started():
    from thaw.common import tensorflow_setup

    tensorflow_setup.start_tensorflow(0, deterministic=True)


@pytest.mark.parametrize("name", BACKBONES)
def test_outputs_are_those_of_the_model_bit_for_bit(name: str) -> None:
    from thaw.config.schema import BackboneConfig, HeadConfig
    from thaw.models import backbones, network
    from thaw.models.eager_keras import run_operations

    size = backbone_table.backbone_spec(name).min_size
    built = backbones.build_backbone(BackboneConfig(name=name, image_size=size, weights="none"))
    joined = network.attach_head(built, HeadConfig(name="linear", dropout=0.5), ("a", "b", "c"))
    images = np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype(np.float32)
    (outputs,) = run_operations(joined.model, [images])
    np.testing.assert_array_equal(outputs, joined.model([images], training=False))


def test_inputs_that_are_outputs_and_inputs_in_the_middle_are_kept() -> None:
    import keras

    from thaw.models.eager_keras import run_operations

    first, second = keras.Input((3,)), keras.Input((3,))
    total = keras.layers.Add()([first, second])
    model = keras.Model([first, second], [first, total, keras.layers.Multiply()([total, second])])
    x, y = np.ones((2, 3), np.float32), np.full((2, 3), 2, np.float32)
    for output, wanted in zip(run_operations(model, [x, y]), (1, 3, 6), strict=True):
        np.testing.assert_array_equal(output, np.full((2, 3), wanted))


@pytest.mark.slow
def test_a_tensor_is_dropped_when_all_that_read_it_have_run() -> None:
    """Else the outputs of all layers lie in memory at once: 33 GB of EfficientNetB7 for 8 images."""
    import keras
    import tensorflow as tf

    from thaw.models.eager_keras import run_operations

    alive: list[weakref.ref] = []
    most = [0]

    class Watched(keras.layers.Layer):
        def call(self, x):
            gc.collect()
            most[0] = max(most[0], sum(ref() is not None for ref in alive))
            result = tf.identity(x + 1)
            alive.append(weakref.ref(result))
            return result

    entry = x = keras.Input((3,))
    for _ in range(10):
        x = Watched()(x)
    alive.clear()
    most[0] = 0
    run_operations(keras.Model(entry, x), [tf.zeros((1, 3))])
    assert len(alive) == 10
    assert most[0] <= 2

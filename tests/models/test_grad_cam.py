"""Grad-CAM lights what a class is seen by, and leaves the network and Keras as they were."""

import gc
import random
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from thaw.common import tensorflow_setup
from thaw.common.errors import UserError
from thaw.config.schema import BackboneConfig, HeadConfig
from thaw.models import backbones, graph_digest, network
from thaw.models.backbone_table import BACKBONES
from thaw.models.grad_cam import GradCam, last_feature_map

from .calibrated_networks import FAMILIES, build, calibrated, pictures

layers = keras.layers
SIDE = 16
RED_PLACE, BLUE_PLACE = (slice(2, 6), slice(3, 8)), (slice(9, 15), slice(10, 12))
ORDINARY = {"cnn", "vgg16", "convnexttiny", "efficientnetb0"}  # a pool and dropout at the end, a pool, neither, gates


@pytest.fixture(autouse=True)
def started():
    tensorflow_setup.start_tensorflow(0, deterministic=True)


def planted_picture() -> np.ndarray:
    """A dim picture with a red and a blue square, uint8 (1, SIDE, SIDE, 3)."""
    picture = np.random.default_rng(0).integers(0, 60, (1, SIDE, SIDE, 3)).astype(np.uint8)
    picture[0, *RED_PLACE] = [200, 20, 20]
    picture[0, *BLUE_PLACE] = [20, 20, 220]
    return picture


def square(place: tuple[slice, slice]) -> np.ndarray:
    lit = np.zeros((SIDE, SIDE), np.float32)
    lit[place] = 1
    return lit


def colour_network(*, logits: float = 1.0, output: str = "softmax") -> keras.Model:
    """Channel 0 is brightness of red above 100, channel 1 of blue; each speaks for a class, `logits` strongly."""
    images = keras.Input((SIDE, SIDE, 3), name="images")
    x = layers.Rescaling(1 / 255)(images)
    x = layers.Conv2D(2, 1, activation="relu", name="bright")(x)
    x = layers.GlobalAveragePooling2D()(layers.Dropout(0.5)(layers.MaxPooling2D(2)(x)))
    units = 1 if output == "sigmoid" else 2
    model = keras.Model(images, layers.Dense(units, activation=output, name="predictions")(x))
    kernel = np.zeros((1, 1, 3, 2), np.float32)
    kernel[0, 0, 0, 0] = kernel[0, 0, 2, 1] = 1
    model.get_layer("bright").set_weights([kernel, np.full(2, -100 / 255, np.float32)])
    weights = np.array([[-1.0], [1.0]]) if output == "sigmoid" else np.array([[1.0, -1.0], [-1.0, 1.0]])
    model.get_layer("predictions").set_weights([logits * weights.astype(np.float32), np.zeros(units, np.float32)])
    return model


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "linear"])
def test_each_class_lights_its_planted_square_and_nothing_else(output: str) -> None:
    heat = GradCam(colour_network(output=output))(planted_picture().repeat(2, axis=0), np.array([0, 1]))
    assert heat.dtype == np.float32
    np.testing.assert_array_equal(heat, [square(RED_PLACE), square(BLUE_PLACE)])


def test_a_certain_network_still_lights() -> None:
    """Probabilities of exactly 0 and 1, whose gradients are 0."""
    model = colour_network(logits=1e5)
    assert model(planted_picture().astype(np.float32)).numpy().tolist() in ([[0, 1]], [[1, 0]])
    np.testing.assert_array_equal(GradCam(model)(planted_picture(), np.array([0]))[0], square(RED_PLACE))


def test_where_nothing_speaks_for_a_class_all_is_zero() -> None:
    only_blue = planted_picture()
    only_blue[0, *RED_PLACE] = 0
    heat = GradCam(colour_network())(np.concatenate([only_blue, planted_picture()]), np.array([0, 0]))
    np.testing.assert_array_equal(heat, [np.zeros((SIDE, SIDE)), square(RED_PLACE)])


def test_activations_that_overflow_light_nothing() -> None:
    model = colour_network()
    model.get_layer("bright").bias.assign([np.nan, 0])
    assert (GradCam(model)(planted_picture(), np.array([0])) == 0).all()


def toy_backbone() -> backbones.Backbone:
    images = keras.Input((9, 9, 3), name="images")
    x = layers.Rescaling(1 / 255, name="preprocess")(images)
    x = layers.Conv2D(5, 3, strides=2, activation="relu", name="block1_conv")(x)
    return backbones.from_model(BackboneConfig(name="cnn", image_size=32), keras.Model(images, x))


@pytest.mark.parametrize("head", ["linear", "gap_dense", "flatten_dense"])
def test_numbers_are_those_of_the_papers_formula(head: str) -> None:
    joined = network.attach_head(toy_backbone(), HeadConfig(name=head, hidden=7, dropout=0.5), ("a", "b", "c"))
    rng = np.random.default_rng(1)
    for layer in network.head_layers(joined):
        layer.set_weights([rng.uniform(-0.8, 1, w.shape).astype(np.float32) for w in layer.get_weights()])
    images = rng.integers(0, 256, (6, 9, 9, 3)).astype(np.uint8)
    classes = np.array([0, 1, 2, 2, 1, 0])
    features = keras.Model(joined.model.inputs, joined.backbone.model.output)(images.astype(np.float32)).numpy()
    expected = [by_hand(joined, head, a, c) for a, c in zip(features, classes, strict=True)]
    found = GradCam(joined.model)(images, classes)
    assert ((found > 0) & (found < 1)).mean() > 0.3
    np.testing.assert_allclose(found, expected, atol=1e-5)


def by_hand(joined: network.Network, head: str, a: np.ndarray, label: int) -> np.ndarray:
    """Grad-CAM in NumPy from the head's weights; a: (h, w, K)."""
    h, w, channels = a.shape
    last = joined.model.get_layer("predictions").kernel.numpy()[:, label]
    if head != "linear":
        kernel, bias = joined.model.get_layer("head_hidden").get_weights()
        entered = a.reshape(-1) if head == "flatten_dense" else a.mean(axis=(0, 1))
        last = kernel @ (last * (entered @ kernel + bias > 0))
    weights = last.reshape(h, w, channels).mean(axis=(0, 1)) if head == "flatten_dense" else last / (h * w)
    heat = np.maximum((a * weights).sum(axis=-1), 0)
    return heat / heat.max() if heat.max() > 0 else heat


def test_the_map_is_of_the_last_convolution_when_branches_join() -> None:
    """A gated block has a pooling of its own inside, and two poolings end the network side by side."""
    images = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(4, 3, padding="same")(images)
    gate = layers.Dense(4, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Add(name="joined")([layers.Multiply()([x, gate]), x])
    pooled = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)])
    model = keras.Model(images, layers.Dense(3, activation="softmax")(pooled))
    assert last_feature_map(model) is model.get_layer("joined").output
    assert GradCam(model)(planted_picture(), np.array([2])).shape == (1, SIDE, SIDE)


def test_a_network_without_convolutions_is_refused() -> None:
    images = keras.Input((SIDE, SIDE, 3))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(images))
    with pytest.raises(UserError, match="network dense has no feature map"):
        GradCam(keras.Model(images, layers.Dense(2, activation="softmax")(x), name="dense"))


def test_the_network_and_random_numbers_stay_as_they_were() -> None:
    joined = network.attach_head(calibrated(build("mobilenet", alpha=0.25)), HeadConfig(name="gap_dense"), ("a", "b"))
    joined.model.layers[3].trainable = False
    before = state_of(joined.model)
    heat = GradCam(joined.model)(pictures(64, 5, seed=3).astype(np.uint8), np.array([0, 1, 0, 1, 0]))
    assert heat.max() == 1
    assert state_of(joined.model) == before
    tensorflow_setup.seed_keras(5)
    drawn = next_draws()
    tensorflow_setup.seed_keras(5)
    GradCam(joined.model)(pictures(64, 1, seed=3).astype(np.uint8), np.array([0]))
    assert next_draws() == drawn


def state_of(model: keras.Model) -> list[object]:
    variables = [*model.variables, *(v for layer in model.layers for v in layer.variables)]
    return [
        [v.numpy().tobytes() for v in variables],
        [layer.trainable for layer in model.layers],
        [len(operation._inbound_nodes) + len(operation._outbound_nodes) for operation in model.operations],
        [layer.dtype_policy.name for layer in model.layers],
        graph_digest.graph_sha256(model),
    ]


def next_draws() -> list[float]:
    """What Keras, TensorFlow, NumPy and Python draw next."""
    fresh = layers.Dense(2)
    fresh.build((1, 2))
    values = [fresh.kernel.numpy(), keras.random.uniform((2,)).numpy(), tf.random.uniform((2,)).numpy()]
    return [*np.concatenate([v.ravel() for v in values]).tolist(), float(np.random.rand()), random.random()]


def test_layers_before_the_feature_map_are_not_kept_for_the_gradient() -> None:
    """Else EfficientNetB7 would fill gigabytes for one image."""
    alive: list[weakref.ref] = []
    most = [0]

    class Watched(layers.Layer):
        def call(self, x):
            gc.collect()
            most[0] = max(most[0], sum(ref() is not None for ref in alive))
            result = tf.identity(tf.square(x))
            alive.append(weakref.ref(result))
            return result

    images = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(4, 3)(images)
    for _ in range(8):
        x = Watched()(x)
    model = keras.Model(images, layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(x)))
    alive.clear()
    most[0] = 0
    GradCam(model)(planted_picture(), np.array([1]))
    assert len(alive) == 8
    assert most[0] <= 2


@pytest.mark.filterwarnings("ignore:The structure of `inputs`")
@pytest.mark.parametrize(
    "name", [n if n in ORDINARY else pytest.param(n, marks=pytest.mark.slow) for n in sorted(FAMILIES)]
)
def test_every_family_has_a_map_of_its_last_features(name: str) -> None:
    built = calibrated(build(name, image_size=max(BACKBONES[name].min_size, 64)))
    joined = network.attach_head(built, HeadConfig(name="linear"), ("a", "b", "c"))
    images = pictures(built.image_size, 2, seed=1).astype(np.uint8)
    grad_cam = GradCam(joined.model)
    heat = grad_cam(images, np.array([0, 2]))
    height, width = built.model.output.shape[1:3]
    pools = {"vgg16": 2, "cnn": 2}.get(name, 1)  # those end in a pooling, and the map is that before it
    assert (heat.shape[1] // pools, heat.shape[2] // pools) == (height, width)
    assert set(heat.max(axis=(1, 2))) <= {0, 1}
    assert heat.min() >= 0


@pytest.mark.parametrize(
    ("name", "map_layer"),
    [
        ("mobilenet", "conv_pw_13_relu"),  # pooling keeps maps of 1x1, and a convolution gives the scores
        ("mobilenetv3small", "activation_17"),  # and another one comes before it
        pytest.param("vgg16", "block5_conv3", marks=pytest.mark.slow),
        pytest.param("nasnetmobile", "activation_187", marks=pytest.mark.slow),
        pytest.param("convnexttiny", "add_17", marks=pytest.mark.slow),
        pytest.param("efficientnetb0", "top_activation", marks=pytest.mark.slow),
    ],
)
def test_published_classifiers_are_explained(name: str, map_layer: str) -> None:
    model = backbones.build_imagenet_classifier(BackboneConfig(name=name, weights="none"))
    grad_cam = GradCam(model)
    assert grad_cam.feature_map._keras_history.operation.name == map_layer
    heat = grad_cam(pictures(224, 1, seed=0).astype(np.uint8), np.array([3]))
    assert heat.shape == (1, *grad_cam.feature_map.shape[1:3])
    assert np.isfinite(heat).all()


def test_the_two_classes_of_a_sigmoid_are_seen_at_different_places() -> None:
    head = HeadConfig(name="flatten_dense", hidden=8, output="sigmoid")
    joined = network.attach_head(build("cnn", image_size=32), head, ("a", "b"))
    images = pictures(32, 1, seed=4).astype(np.uint8).repeat(2, axis=0)
    first, second = GradCam(joined.model)(images, np.array([0, 1]))
    assert first.shape == (13, 13)
    assert not ((first > 0) & (second > 0)).any()  # the scores are each other's negative
    assert ((first > 0) | (second > 0)).any()

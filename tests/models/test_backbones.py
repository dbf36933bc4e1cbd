"""Every backbone, built with random weights: one TensorFlow process for all."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml

from thaw.common import tensorflow_setup
from thaw.config.schema import BackboneConfig, HeadConfig
from thaw.models import backbones, freeze, network
from thaw.models.backbone_table import BACKBONES

from .calibrated_networks import FAMILIES, build, calibrated, pictures, spread_predictions

CONF = Path(__file__).parent.parent.parent / "conf" / "backbone"
# Keras's own preprocessing functions, for a network of each family that does not preprocess by itself.
KERAS_MODE = {
    "xception": keras.applications.xception,
    "vgg16": keras.applications.vgg16,
    "vgg19": keras.applications.vgg19,
    "resnet50": keras.applications.resnet,
    "resnet50v2": keras.applications.resnet_v2,
    "inceptionv3": keras.applications.inception_v3,
    "inceptionresnetv2": keras.applications.inception_resnet_v2,
    "mobilenet": keras.applications.mobilenet,
    "mobilenetv2": keras.applications.mobilenet_v2,
    "densenet121": keras.applications.densenet,
    "nasnetmobile": keras.applications.nasnet,
}
RGB = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3)).astype(np.float32)

APPLICATIONS = [
    n if n in FAMILIES else pytest.param(n, marks=pytest.mark.slow)
    for n, row in BACKBONES.items()
    if row.source == "keras.applications"
]


# The largest, which take 3 to 10 seconds each to build.
LARGEST = {
    "efficientnetb5",
    "efficientnetb6",
    "efficientnetb7",
    "efficientnetv2m",
    "efficientnetv2l",
    "convnextlarge",
    "convnextxlarge",
    "nasnetlarge",
    "resnet152",
    "resnet152v2",
    "densenet201",
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LARGEST else n for n in BACKBONES])
def test_every_backbone_builds_and_its_own_boundary_is_a_blocks_end(name: str) -> None:
    built = build(name)
    assert built.model.input_shape[1] == built.image_size
    own = yaml.safe_load((CONF / f"{name}.yaml").read_text())["freeze"]
    made = freeze.make_plan(own, built.graph, name, "frozen")
    assert not made.inside_block
    assert (made.boundary == 0) == (name == "cnn")
    assert [b.last_layer for b in built.graph.blocks] == sorted({b.last_layer for b in built.graph.blocks})
    assert built.graph.blocks[-1].last_layer == len(built.graph.layers) - 1
    assert len(built.graph.blocks) >= 2
    assert freeze.make_plan("all", built.graph, name, "frozen").trainable_params == 0
    assert freeze.make_plan("none", built.graph, name, "frozen").trainable_params == sum(
        x.params for x in built.graph.layers
    )


@pytest.mark.parametrize("name", APPLICATIONS)
def test_layer_indices_are_those_of_keras_applications(name: str) -> None:
    """An index means what it means in everybody else's code."""
    built = build(name)
    tensorflow_setup.start_tensorflow(0, deterministic=True)
    shape = (built.image_size, built.image_size, 3)
    stock = getattr(keras.applications, BACKBONES[name].builder)(include_top=False, weights=None, input_shape=shape)
    assert [layer.type for layer in built.graph.layers] == [type(layer).__name__ for layer in stock.layers]
    assert [layer.params for layer in built.graph.layers] == [layer.count_params() for layer in stock.layers]


@pytest.mark.parametrize("name", KERAS_MODE)
def test_preprocessing_is_kerass_own_and_part_of_the_network(name: str) -> None:
    built = build(name, image_size=96)
    first = built.model.get_layer("preprocess").output
    ours = keras.Model(built.model.inputs, first)(RGB).numpy()
    theirs = KERAS_MODE[name].preprocess_input(RGB.copy())
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)


def test_a_family_preprocesses_alike() -> None:
    """So that the test above speaks for every backbone."""
    for name, row in BACKBONES.items():
        if row.preprocess in ("tf", "caffe", "torch"):
            same = {BACKBONES[f].preprocess for f in KERAS_MODE if _family(f) == _family(name)}
            assert same == {row.preprocess}, name


def _family(name: str) -> str:
    for family in ("inceptionresnet", "inception", "densenet", "nasnet", "mobilenet", "vgg", "xception"):
        if name.startswith(family):
            return name if family == "mobilenet" else family
    return "resnet_v2" if name.endswith("v2") else "resnet"


def test_lite_and_baseline_preprocessing() -> None:
    lite = keras.Model((m := build("efficientnet_lite0").model).inputs, m.get_layer("preprocess").output)
    pixels = np.stack([np.full((64, 64, 3), v, np.float32) for v in (0, 127, 255)])
    assert lite(pixels).numpy()[:, 0, 0, 0].tolist() == [-127 / 128, 0, 1]
    unit = keras.Model((m := build("cnn", image_size=64).model).inputs, m.get_layer("preprocess").output)
    np.testing.assert_allclose(unit(pixels).numpy()[:, 0, 0, 0], [0, 127 / 255, 1], rtol=1e-6)


def test_inception_v3_is_the_one_the_world_knows() -> None:
    built = build("inceptionv3", image_size=299)
    at_172 = freeze.make_plan(172, built.graph, "inceptionv3", "frozen")
    assert sorted(at_172.cut_names) == ["activation_55", "conv2d_51", "mixed5"]
    assert at_172.summary() == (
        "frozen 172/311 · boundary conv2d_51, inside block mixed6 · cut 3 tensors, 1.3 MB/image · trainable 74.5 % · "
        "BatchNorm statistics fixed"
    )
    ends = {block.name: block.last_layer for block in built.graph.blocks}
    assert (ends["mixed5"], ends["mixed6"], ends["mixed8"]) == (164, 196, 248)
    assert (
        freeze.make_plan("mixed8", built.graph, "inceptionv3", "frozen")
        .summary()
        .endswith("trainable 51.0 % · BatchNorm statistics fixed")
    )


def test_stock_inception_v3_has_its_published_number_of_parameters() -> None:
    tensorflow_setup.start_tensorflow(0, deterministic=True)
    stock = backbones.build_imagenet_classifier(BackboneConfig(name="inceptionv3", weights="none"))
    assert stock.count_params() == 23_851_784


# Small networks of unlike structure; the rest is slow.
PARTED = {"cnn", "vgg16", "inceptionv3", "mobilenetv2", "mobilenetv3small", "efficientnet_lite0"}


@pytest.mark.parametrize("name", [n if n in PARTED else pytest.param(n, marks=pytest.mark.slow) for n in BACKBONES])
def test_a_cut_at_any_of_ten_boundaries_reproduces_the_whole_networks_output(name: str) -> None:
    """Ten boundaries spread over the layers, and everything frozen; batchnorm and the training step either way."""
    built = calibrated(build(name))
    joined = network.attach_head(built, HeadConfig(name="linear"), ("cat", "dog", "fox"))
    images = pictures(built.image_size, 2, seed=1)
    spread_predictions(joined, images)
    total = len(built.graph.layers)
    ends = sorted({max(1, round(total * i / 11)) for i in range(1, 12)})
    assert len(ends) == min(total, 11)
    divided = []
    for i, end in enumerate(ends):
        plan = freeze.make_plan(end, built.graph, name, ("frozen", "trainable")[i % 2])
        step = ("folded", "folded", "keras")[i % 3]
        divided.append((plan, network.divide_network(joined, plan, network.cut_at(joined, plan.boundary), step)))
    # One pass for all the cuts: as many as the network is long would take minutes.
    wanted = [joined.model.output, *(tensor for _, parts in divided for tensor in parts.frozen.outputs)]
    whole, *cuts = [np.asarray(y) for y in keras.Model(joined.model.inputs, wanted)([images], training=False)]
    assert np.abs(whole[0] - whole[1]).max() > 0.2, "the network must see its images, or this test sees nothing"
    for plan, parts in divided:
        given = [cuts.pop(0) for _ in parts.frozen.outputs]
        assert [tensor.shape[1:] for tensor in given] == list(parts.cut.shapes)
        again = np.asarray(parts.trained(given if len(given) > 1 else given[0], training=False))
        np.testing.assert_allclose(again, whole, rtol=1e-3, atol=2e-5, err_msg=plan.summary())
    assert not cuts


def test_a_saved_network_opens_with_keras_alone(tmp_path: Path) -> None:
    """Caffe's and torch's preprocessing are the two that no single Keras layer does."""
    expected = {}
    for name in ("vgg16", "densenet121", "efficientnet_lite0", "convnexttiny"):
        model = network.attach_head(build(name), HeadConfig(name="linear"), ("a", "b")).model
        model.save(tmp_path / f"{name}.keras")
        size = model.input_shape[1]
        expected[name] = model(RGB[:, :size, :size], training=False).numpy().tolist()
        np.save(tmp_path / f"{name}.npy", RGB[:, :size, :size])
    code = (
        "import keras, numpy, json, sys\n"
        "nets = {n: keras.models.load_model(f'{n}.keras') for n in sys.argv[1:]}\n"
        "out = {n: net(numpy.load(f'{n}.npy')).numpy().tolist() for n, net in nets.items()}\n"
        "assert not any(m.startswith('thaw') for m in sys.modules)\n"
        "print(json.dumps(out))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *expected], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    opened = json.loads(done.stdout)
    for name, values in expected.items():
        np.testing.assert_allclose(opened[name], values, rtol=1e-5, atol=1e-6)

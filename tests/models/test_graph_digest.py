"""A network that is built again is the network that was trained: its graph, not only its weights."""

import dataclasses
import json
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from thaw.common import tensorflow_setup
from thaw.common.errors import UserError
from thaw.config.schema import BackboneConfig, Config, HeadConfig
from thaw.config.stored_config import config_yaml
from thaw.models import backbones, graph_digest, network, saved_model
from thaw.models import weight_files as weights
from thaw.models.backbone_table import BACKBONES
from thaw.models.backbones import Backbone
from thaw.models.graph_digest import graph_sha256

HEAD, CLASSES = HeadConfig(name="linear"), ("a", "b")
# One of each way to preprocess and to build; the others, of which building takes seconds each, are slow.
ORDINARY = {"mobilenet", "efficientnetb0"}
PRETRAINED = [
    name if name in ORDINARY else pytest.param(name, marks=pytest.mark.slow)
    for name, row in BACKBONES.items()
    if row.source == "keras.applications"
]


def config(name: str, weights: str) -> BackboneConfig:
    alpha = 0.25 if name == "mobilenet" else None
    return BackboneConfig(name=name, weights=weights, image_size=max(BACKBONES[name].min_size, 32), alpha=alpha)


def build(name: str, weights: str) -> Backbone:
    tensorflow_setup.start_tensorflow(0, deterministic=True)
    return backbones.build_backbone(config(name, weights))


def legacy_h5(model: keras.Model, file: Path) -> Path:
    """Write weights alone, in the format in which keras.applications publishes them."""
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(file, "w") as h5:
        legacy_h5_format.save_weights_to_hdf5_group(h5, model)
    return file


def published(name: str, folder: Path) -> Path:
    """What Keras would download: random weights in the layers of the graph that Keras builds for its own."""
    tensorflow_setup.start_tensorflow(1, deterministic=True)
    shape = (config(name, "none").image_size,) * 2 + (3,)
    arguments = {"alpha": 0.25} if name == "mobilenet" else {}
    with weights.without_weights():
        builder = getattr(keras.applications, BACKBONES[name].builder)
        model = builder(include_top=False, weights="imagenet", input_shape=shape, **arguments)
    return legacy_h5(model, folder / f"{name}_notop.h5")


@pytest.fixture
def serve_weights(tmp_path, monkeypatch):
    """Feeds Keras's own loader from a local file of random weights, and returns that file."""

    def serve(name: str) -> Path:
        file = published(name, tmp_path)
        monkeypatch.setattr(weights, "_get_file", lambda *_, **__: str(file))
        return file

    return serve


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")  # what Keras says of other sizes than 224
@pytest.mark.parametrize("name", PRETRAINED)
def test_every_way_to_build_a_pretrained_network_gives_the_same_graph(serve_weights, tmp_path: Path, name: str) -> None:
    file = serve_weights(name)
    trained = build(name, "imagenet")
    backbone_sha256 = graph_sha256(trained.model)
    layers = [(layer.type, layer.params) for layer in trained.graph.layers]
    joined = network.attach_head(trained, HEAD, CLASSES)
    joined_sha256 = graph_sha256(joined.model)
    values = joined.model.get_weights()
    own = dataclasses.replace(Config(), backbone=config(name, "imagenet"), head=HEAD)
    saved = saved_model.save_network(joined, config_yaml(own), tmp_path / "run")
    trained.model.save_weights(tmp_path / "own.weights.h5")

    listed = next(backbones.build_variants(config(name, "imagenet")))  # what scripts/layers.py lists
    assert graph_sha256(listed) == backbone_sha256
    for route in (file, tmp_path / "own.weights.h5", saved.weights_file):  # what Keras downloads, weights alone, a run
        built = build(name, str(route))
        assert graph_sha256(built.model) == backbone_sha256, route.name
        assert [(layer.type, layer.params) for layer in built.graph.layers] == layers
    plain = graph_sha256(build(name, "none").model)
    assert (plain != backbone_sha256) == BACKBONES[name].graph_depends_on_weights  # the table knows it
    tensorflow_setup.start_tensorflow(2, deterministic=True)
    again = saved_model.load_network(saved)  # predict model=RUN
    assert graph_sha256(again.model) == joined_sha256 == saved.graph()["sha256"]
    for ours, theirs in zip(again.model.get_weights(), values, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_random_weights_keep_kerass_own_graph_and_a_run_from_them_too(tmp_path: Path) -> None:
    built = build("efficientnetb0", "none")
    assert len(built.layers) == 237  # keras.applications.EfficientNetB0(weights=None)
    joined = network.attach_head(built, HEAD, CLASSES)
    own = dataclasses.replace(Config(), backbone=config("efficientnetb0", "none"), head=HEAD)
    saved = saved_model.save_network(joined, config_yaml(own), tmp_path)
    digest, joined_digest = graph_sha256(built.model), graph_sha256(joined.model)
    assert graph_sha256(build("efficientnetb0", str(saved.weights_file)).model) == digest
    assert graph_sha256(saved_model.load_network(saved).model) == joined_digest


@pytest.mark.slow
def test_a_run_of_an_earlier_version_is_rebuilt_as_its_file_says(serve_weights, tmp_path: Path) -> None:
    """There was no digest; the .keras file has the layers. MLflow's has its one output in a list."""
    serve_weights("efficientnetb0")
    for source in ("imagenet", "none"):
        joined = network.attach_head(build("efficientnetb0", source), HEAD, CLASSES)
        digest = graph_sha256(joined.model)
        # Weights of a file went into the graph without Rescaling: the config alone would mislead.
        own = dataclasses.replace(Config(), backbone=config("efficientnetb0", "/somewhere/weights.h5"), head=HEAD)
        logged = tmp_path / f"{source}.keras"
        keras.Model(joined.model.inputs, joined.model.outputs).save(logged)
        saved = saved_model.save_network(joined, config_yaml(own), tmp_path / source, logged)
        (saved.folder / saved_model.GRAPH_FILE).unlink()
        tensorflow_setup.start_tensorflow(0, deterministic=True)
        assert graph_sha256(saved_model.load_network(saved).model) == digest


def test_another_network_in_the_folder_is_refused_though_its_weights_fit(tmp_path: Path) -> None:
    joined = network.attach_head(build("mobilenet", "none"), HEAD, CLASSES)
    own = dataclasses.replace(Config(), backbone=config("mobilenet", "none"), head=HEAD)
    saved = saved_model.save_network(joined, config_yaml(own), tmp_path)
    other = tmp_path / "other.keras"
    with zipfile.ZipFile(saved.weights_file) as old, zipfile.ZipFile(other, "w") as new:
        for entry in old.namelist():
            content = old.read(entry)
            new.writestr(entry, content.replace(b'"max_value": 6.0', b'"max_value": 5.0'))
    assert other.read_bytes() != saved.weights_file.read_bytes()
    (saved.folder / saved_model.GRAPH_FILE).unlink()
    other.replace(saved.weights_file)
    with pytest.raises(UserError, match=r"another network .*a ReLU: max_value is 5.0 there, 6.0 here"):
        saved_model.load_network(saved)
    with pytest.raises(UserError, match=r"holds a network that is not mobilenet .*max_value is 5.0 there"):
        build("mobilenet", str(saved.weights_file))
    (saved.folder / saved_model.GRAPH_FILE).write_text(json.dumps({"sha256": "0" * 64, "keras": keras.__version__}))
    with pytest.raises(UserError, match="another network"):
        saved_model.load_network(saved)


def test_a_digest_tells_settings_constants_and_connections_apart_and_no_names() -> None:
    def digest(scale: float = 2.0, stride: int = 1, swapped: bool = False, prefix: str = "x", units: int = 4) -> str:
        images = keras.Input((8, 8, 3), name=prefix)
        a = keras.layers.Conv2D(3, 3, strides=stride, padding="same", name=f"{prefix}_a")(images)
        b = keras.layers.Rescaling(scale, name=f"{prefix}_b")(a)
        joined = keras.layers.Subtract(name=f"{prefix}_c")([b, a] if swapped else [a, b])
        x = keras.layers.GlobalAveragePooling2D(name=f"{prefix}_d")(joined)
        return graph_sha256(keras.Model(images, keras.layers.Dense(units, name=f"{prefix}_e")(keras.ops.flip(x, -1))))

    assert digest() == digest(prefix="another_")
    others = [digest(scale=3.0), digest(stride=2), digest(swapped=True), digest(units=5)]
    assert len({digest(), *others}) == 5


def test_a_digest_does_not_depend_on_precision_or_what_is_frozen() -> None:
    from thaw.models import freeze
    from thaw.models.compute_precision import computing_in

    built = build("mobilenet", "none")
    before = graph_sha256(built.model)
    freeze.set_trainable(built.layers, 40)
    with computing_in(built.model, "bfloat16"):
        assert graph_sha256(built.model) == before


def test_a_stored_description_serves_another_version_of_keras() -> None:
    built = graph_digest.describe_model(build("mobilenet", "none").model)
    stored = json.loads(json.dumps(built))
    del stored[1]["config"]["scale"]  # a setting that a later Keras added
    assert graph_digest.first_difference(stored, built) is None
    stored[1]["class"] = "Normalization"
    assert "operation 1 is a Normalization there" in (graph_digest.first_difference(stored, built) or "")

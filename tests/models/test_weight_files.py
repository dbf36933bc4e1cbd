"""Weights files into networks built in code."""

import dataclasses
import hashlib
import http.server
import json
import threading
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
from thaw.models import backbones, network, saved_model

SHARED = Path(__file__).parents[3] / "shared" / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
RGB = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)


def small(weights: str = "none", **options: object) -> backbones.Backbone:
    tensorflow_setup.start_tensorflow(len(weights), deterministic=True)  # another seed for each source of weights
    options = {"name": "mobilenet", "alpha": 0.25, "image_size": 32, **options}
    return backbones.build_backbone(BackboneConfig(weights=weights, **options))


@pytest.fixture(scope="module")
def trained():
    """A network with weights of its own, and its features of RGB."""
    tensorflow_setup.start_tensorflow(7, deterministic=True)
    built = backbones.build_backbone(BackboneConfig(name="mobilenet", alpha=0.25, image_size=32, weights="none"))
    for layer in built.layers:
        layer.set_weights([w + 0.01 * np.random.default_rng(3).random(w.shape) for w in layer.get_weights()])
    return built, built.model(RGB, training=False).numpy()


def legacy(model, file: Path) -> Path:
    """Write the format of Keras 1 and 2, in which keras.applications publishes."""
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(file, "w") as h5:
        legacy_h5_format.save_weights_to_hdf5_group(h5, model)
    return file


@pytest.mark.parametrize("form", ["no_top.h5", "x.weights.h5", "x.keras", "whole.keras"])
def test_every_format_gives_the_same_features(trained, tmp_path: Path, form: str) -> None:
    built, features = trained
    file = tmp_path / form
    if form == "no_top.h5":
        legacy(built.model, file)
    elif form == "whole.keras":  # a network that thaw trained, head and all
        network.attach_head(built, HeadConfig(), ("a", "b")).model.save(file)
    elif form.endswith(".keras"):
        built.model.save(file)
    else:
        built.model.save_weights(file)
    np.testing.assert_allclose(small(str(file)).model(RGB, training=False).numpy(), features, rtol=1e-5)


def test_another_networks_file_does_not_fit_and_changes_nothing(trained, tmp_path: Path) -> None:
    file = legacy(trained[0].model, tmp_path / "mobilenet_2_5.h5")
    with pytest.raises(
        UserError, match=r"does not fit mobilenet: layer conv1 takes \(3, 3, 3, 16\).*holds \(3, 3, 3, 8\)"
    ):
        small(str(file), alpha=0.5)
    with pytest.raises(UserError, match="does not fit mobilenetv2"):
        small(str(file), name="mobilenetv2", alpha=None)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.h5", None, "a weights file that exists"),
        ("text.h5", b"hello", "cannot be read as Keras weights"),
        ("text.keras", b"hello", "cannot be read as Keras weights"),
        ("net.pth", b"hello", r"weights files end in \.h5"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        small(str(tmp_path / name))


def hostile(keras_file: Path) -> Path:
    """Put a config into a .keras file that makes a directory when Keras builds it."""
    made = keras_file.parent / "made"
    call = {"module": "os", "class_name": "makedirs", "config": {"name": str(made)}, "registered_name": "makedirs"}
    evil = keras_file.with_name("evil.keras")
    with zipfile.ZipFile(keras_file) as old, zipfile.ZipFile(evil, "w") as new:
        for name in old.namelist():
            new.writestr(name, json.dumps(call) if name == "config.json" else old.read(name))
    return evil


def test_a_keras_files_own_network_is_never_built(trained, tmp_path: Path) -> None:
    """Its weights are taken, and the config in it is not looked at: what it would call is not called."""
    built, features = trained
    built.model.save(tmp_path / "sound.keras")
    loaded = small(str(hostile(tmp_path / "sound.keras")))
    np.testing.assert_allclose(loaded.model(RGB, training=False).numpy(), features, rtol=1e-5)
    assert not (tmp_path / "made").exists()


def test_a_lambda_layer_is_not_run(tmp_path: Path) -> None:
    """The function of such a layer lies in the file as code."""
    file, made = tmp_path / "lambda.keras", str(tmp_path / "made")
    evil = keras.layers.Lambda(lambda x: __import__("os").makedirs(made) or x, output_shape=(8, 8, 3))
    tensorflow_setup.start_tensorflow(0, deterministic=True)
    keras.Sequential([evil, keras.layers.Conv2D(8, 3)]).save(file)
    with pytest.raises(UserError, match="does not fit mobilenet"):
        small(str(file))
    assert not Path(made).exists()
    loaded = keras.models.load_model(file, safe_mode=False)  # the file would have run it
    loaded(np.zeros((1, 8, 8, 3)))
    assert Path(made).exists()


@pytest.mark.parametrize("how", ["link", "external", "virtual"])
def test_a_file_that_reads_other_files_is_refused(trained, tmp_path: Path, how: str) -> None:
    file, secret = legacy(trained[0].model, tmp_path / "x.h5"), tmp_path / "secret"
    with h5py.File(secret, "w") as h5:
        h5["kernel"] = np.zeros((3, 3, 3, 8), np.float32)
    with h5py.File(file, "a") as h5:
        (name,) = h5["conv1"].attrs["weight_names"]
        del h5["conv1"][name]
        if how == "link":
            h5["conv1"][name] = h5py.ExternalLink(str(secret), "kernel")
        elif how == "external":
            h5["conv1"].create_dataset(name, (3, 3, 3, 8), "f4", external=[(str(secret), 0, 864)])
        else:
            layout = h5py.VirtualLayout((3, 3, 3, 8), "f4")
            layout[:] = h5py.VirtualSource(str(secret), "kernel", (3, 3, 3, 8))
            h5["conv1"].create_virtual_dataset(name, layout)
    with pytest.raises(UserError, match="another file"):
        small(str(file))


@pytest.mark.filterwarnings("ignore:Skipping nested container")  # Keras, of a file that is another network's
def test_a_run_folder_with_another_network_in_it_is_refused(trained, tmp_path: Path) -> None:
    """`predict.py model=FOLDER` of a stranger's: built in code; its .keras gives weights, or nothing."""
    built, _ = trained
    joined = network.attach_head(built, HeadConfig(name="linear"), ("a", "b"))
    own = BackboneConfig(name="mobilenet", alpha=0.25, image_size=32, weights="none")
    config = dataclasses.replace(Config(), backbone=own, head=HeadConfig(name="linear"))
    kept = saved_model.save_network(joined, config_yaml(config), tmp_path)
    hostile(kept.weights_file).replace(kept.weights_file)
    tensorflow_setup.start_tensorflow(0, deterministic=True)
    assert saved_model.load_network(kept).model.count_params() == joined.model.count_params()
    for content in (b"", b"no zip", kept.weights_file.read_bytes()[:1000]):
        kept.weights_file.write_bytes(content)
        with pytest.raises(UserError, match=r"model\.keras does not hold the weights of that network"):
            saved_model.load_network(kept)
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(kept.weights_file)
    with pytest.raises(UserError, match="does not hold the weights of that network"):
        saved_model.load_network(kept)
    assert not (tmp_path / "made").exists()


def test_weights_are_downloaded_from_where_keras_says_and_checked(trained, tmp_path, monkeypatch) -> None:
    built, features = trained
    legacy(built.model, tmp_path / "mobilenet_2_5_224_tf_no_top.h5")
    handler = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: handler(*a, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    from keras.src.applications import mobilenet

    address = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setattr(mobilenet, "BASE_WEIGHT_PATH", address)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    try:
        # Keras names the file by its 224 pixels and warns that 32 is another size.
        loaded = small("imagenet")
        np.testing.assert_allclose(loaded.model(RGB, training=False).numpy(), features, rtol=1e-5)
        # Keras knows no hash of this file: what came is noted, and a torn one is not believed.
        kept = tmp_path / "keras" / "models" / "mobilenet_2_5_224_tf_no_top.h5"
        whole = kept.read_bytes()
        assert kept.with_name(f"{kept.name}.sha256").read_text().startswith(hashlib.sha256(whole).hexdigest())
        for file in kept.parent.iterdir():
            file.unlink()
        kept.write_bytes(whole[:-100])
        small("imagenet")
        assert kept.read_bytes() == whole
        monkeypatch.setattr(mobilenet, "BASE_WEIGHT_PATH", address + "gone/")
        with pytest.raises(UserError, match=rf"downloaded from {address}gone/.*404.*backbone.weights=FILE.h5"):
            small("imagenet", alpha=0.5)
    finally:
        server.shutdown()


def test_the_genuine_mobilenet_file_loads_as_keras_loads_it() -> None:
    if not SHARED.is_file():
        pytest.skip("the genuine weights file mobilenet_2_5_224_tf_no_top.h5 is not beside this checkout")
    ours = small(str(SHARED), image_size=224)
    photo = np.random.default_rng(1).integers(0, 256, (1, 224, 224, 3)).astype(np.float32)
    tensorflow_setup.start_tensorflow(0, deterministic=True)
    stock = keras.applications.MobileNet(alpha=0.25, input_shape=(224, 224, 3), include_top=False, weights=str(SHARED))
    theirs = stock(keras.applications.mobilenet.preprocess_input(photo.copy()), training=False).numpy()
    np.testing.assert_allclose(ours.model(photo, training=False).numpy(), theirs, rtol=1e-4, atol=1e-4)
    assert theirs.std() > 0.1

"""Quantised networks: the same from process to process, calibrated on training images, and nothing else changes."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from thaw.config.schema import HeadConfig
from thaw.frozen import engine, quantization

from .small_network import build_network, divide, picture, read_photos

# Found, not imported: the import would bring telemetry into the process, which quantization.py keeps out.
pytestmark = pytest.mark.skipif(importlib.util.find_spec("nncf") is None, reason="needs nncf, thaw's extra int8")

SCRIPT = """
import json, logging, os, random, sys, threading
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/src"]
import hashlib
import numpy as np
from pathlib import Path
from tests.frozen.small_network import picture, read_photos
from thaw.common import tensorflow_setup
from thaw.frozen import engine, quantization

tensorflow_setup.start_tensorflow(0, deterministic=True)
import keras

def network():
    keras.utils.set_random_seed(0)
    images = keras.Input((32, 32, 3), name="images")
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(8, 3)(images))
    x = keras.layers.Activation("relu")(x)
    x = keras.layers.Add()([x, keras.layers.DepthwiseConv2D(3, padding="same")(x)])
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(16, 1)(x)))

calibration = quantization.of_training_images(read_photos(Path(sys.argv[2]), list(range(12))), np.arange(12))
def inputs():
    return ((batch,) for batch in calibration.batches())
for _ in range(int(sys.argv[3])):  # Keras, the conversion and NNCF count the names of layers and operations on
    quantization.quantize(engine.convert_to_openvino(network()), inputs, calibration)
model = network()
converted = engine.convert_to_openvino(model)
np.random.seed(3)
random.seed(3)
def state():
    return [
        hashlib.sha256(np.random.get_state()[1].tobytes()).hexdigest(), hash(random.getstate()), dict(os.environ),
        str(logging.getLoggerClass()), threading.active_count(),
    ]
before = state()
quantized = quantization.quantize(converted, inputs, calibration)
from nncf.telemetry import telemetry
function = engine.InferenceFunction(None, "openvino", "int8", quantized)
(outputs,) = function(np.stack([picture(n) for n in range(20, 29)]))
file = Path(sys.argv[2]) / "quantized.xml"
quantization.save_quantized(quantized, file)
print(json.dumps({
    "unchanged": before == state(),
    "telemetry": type(telemetry).__name__,
    "outputs": hashlib.sha256(outputs.tobytes()).hexdigest(),
    "files": [hashlib.sha256(file.with_suffix(s).read_bytes()).hexdigest() for s in (".xml", ".bin")],
}))
"""


def quantized_elsewhere(folder: Path, networks_built: int) -> dict:
    folder.mkdir()
    command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parents[2]), str(folder), str(networks_built)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    *noise, last = ran.stdout.splitlines()
    assert noise == []  # no log lines and bars of NNCF's
    return json.loads(last)


@pytest.mark.slow
def test_every_process_quantises_alike_and_stays_as_it_was(tmp_path: Path) -> None:
    first, second = (quantized_elsewhere(tmp_path / str(n), n) for n in (0, 1))
    assert first == second
    assert first["unchanged"]
    assert first["telemetry"] == "MagicMock"  # NNCF's substitute: nothing is sent


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory):
    return read_photos(tmp_path_factory.mktemp("photos"), [*range(40), 3, 4])


def test_the_sample_follows_from_the_contents_of_the_training_images(photos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "MAX_IMAGES", 10)
    train = np.arange(30)
    sample = quantization.of_training_images(photos, train)
    assert len(set(sample.indices.tolist())) == 10
    assert set(sample.indices.tolist()) <= set(train.tolist())
    assert quantization.of_training_images(photos, train[::-1].copy()).sha256 == sample.sha256
    assert quantization.of_training_images(photos, np.array([*train, 40, 41])).sha256 == sample.sha256  # the same twice
    assert quantization.of_training_images(photos, np.setdiff1d(train, sample.indices[:1])).sha256 != sample.sha256
    images = np.concatenate(list(sample.batches()))
    assert images.tobytes() == photos.sample(sample.indices).tobytes()


def test_a_quantised_network_computes_about_the_same_and_the_network_stays_as_it_is(photos) -> None:
    model = divide(build_network(HeadConfig(name="linear")), 20).frozen
    calibration = quantization.of_training_images(photos, np.arange(40))
    converted = engine.convert_to_openvino(model)
    quantized = quantization.quantize(converted, lambda: ((batch,) for batch in calibration.batches()), calibration)
    assert any(operation.get_type_name() == "FakeQuantize" for operation in quantized.get_ops())
    images = np.stack([picture(n) for n in range(50, 60)])
    (exact,) = engine.InferenceFunction(model, "openvino", "float32", converted)(images)
    (rounded,) = engine.InferenceFunction(None, "openvino", "int8", quantized)(images)
    assert exact.tobytes() != rounded.tobytes()
    assert np.corrcoef(rounded.ravel(), exact.ravel())[0, 1] > 0.98
    assert not any(operation.get_type_name() == "FakeQuantize" for operation in converted.get_ops())


def test_a_saved_quantised_network_computes_the_same_to_the_last_bit(photos, tmp_path: Path) -> None:
    model = divide(build_network(HeadConfig(name="linear")), "all").frozen
    calibration = quantization.of_training_images(photos, np.arange(20))
    quantized = quantization.quantize(
        engine.convert_to_openvino(model), lambda: ((batch,) for batch in calibration.batches()), calibration
    )
    quantization.save_quantized(quantized, tmp_path / "network.xml")
    images = np.stack([picture(n) for n in range(5)])
    loaded = quantization.load_quantized(tmp_path / "network.xml")
    (before,), (after,) = (engine.InferenceFunction(None, "openvino", "int8", m)(images) for m in (quantized, loaded))
    assert before.tobytes() == after.tobytes()

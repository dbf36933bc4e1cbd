"""A process that has used OpenVINO takes signals as before."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

START = """
import faulthandler, gc, os, signal, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/src"]
import numpy as np
from thaw.common import tensorflow_setup
from thaw.frozen import engine, openvino_runtime, quantization

faulthandler.enable()
signal.signal(signal.SIGTERM, lambda *_: print("the handler ran"))
"""
# Each conversion's own core would be freed in the order of creation: the case that left a freed signal stack in place.
ENGINES = """
ov = openvino_runtime.import_openvino()
from openvino import opset13 as op

def model():
    images = op.parameter([8, 4], np.float32, name="x0")
    images.output(0).tensor.set_names({"x0"})
    return ov.Model([op.relu(images)], [images])

runners = [engine._openvino(model(), "float32", None) for _ in range(3)]
while runners:
    runners.pop(0)
    gc.collect()
"""
INT8 = """
import tempfile
from pathlib import Path
from tests.frozen.small_network import picture, read_photos
tensorflow_setup.start_tensorflow(0, deterministic=True)
import keras

images = keras.Input((32, 32, 3), name="images")
x = keras.layers.Conv2D(16, 3, activation="relu")(images)
network = keras.Model(images, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(16, 1)(x)))
photos = read_photos(Path(tempfile.mkdtemp()), list(range(16)))
calibration = quantization.of_training_images(photos, np.arange(16))
inputs = lambda: ((batch.astype(np.float32),) for batch in calibration.batches())
quantization.quantize(engine.convert_to_openvino(network), inputs, calibration)
gc.collect()
"""
END = "os.kill(os.getpid(), signal.SIGTERM)\n"


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(ENGINES, id="engines"),
        pytest.param(
            INT8,
            id="int8",
            marks=pytest.mark.skipif(importlib.util.find_spec("nncf") is None, reason="needs nncf, thaw's extra int8"),
        ),
    ],
)
def test_a_signal_finds_its_handler_after_openvino_was_used(work: str) -> None:
    """Ctrl-C and SIGTERM save the run; with the stack that OpenVINO had freed they ended it with SIGSEGV."""
    root = str(Path(__file__).parents[2])
    run = subprocess.run([sys.executable, "-c", START + work + END, root], capture_output=True, text=True, timeout=300)
    assert (run.returncode, run.stdout) == (0, "the handler ran\n"), run.stderr

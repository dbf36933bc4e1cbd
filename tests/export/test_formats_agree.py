"""One small network in every format and precision: probabilities, names, metadata and number of images."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thaw.export.export_formats import FORMATS
from thaw.frozen.openvino_runtime import openvino_core, sharing_the_core

from .networks import keras_probabilities, noise, source_of

CASES = [(row.name, precision) for row in FORMATS.values() for precision in row.precisions]
LARGEST = {"float32": 1e-5, "float16": 5e-3, "int8": 5e-2}  # of a probability


@pytest.fixture(scope="module")
def model() -> Any:
    """Two classes by a sigmoid, and the preprocessing of most layers, of which one flips the colours."""
    return build()


def build() -> Any:
    import keras

    from thaw.common import tensorflow_setup
    from thaw.models.preprocessing import add_preprocessing

    tensorflow_setup.start_tensorflow(0, None)
    images = keras.Input((16, 16, 3), name="images")
    x = add_preprocessing(images, "caffe")
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(1, activation="sigmoid", name="predictions")(keras.ops.multiply(x, 0.02))
    return keras.Model(images, x, name="thaw")


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_every_format_computes_what_keras_computes(model: Any, name: str, precision: str, tmp_path: Path) -> None:
    source, row, folder = source_of(model, tmp_path / "kept.keras", precision), FORMATS[name], tmp_path / "export"
    folder.mkdir()
    with sharing_the_core():
        row.write(source, folder, precision)
        run = row.load(folder)
    for count in (3, 1):  # any number of images
        images = noise(16, count)
        found, expected = np.asarray(run(images)), keras_probabilities(model, images)
        assert found.shape == expected.shape == (count, 2)
        assert np.abs(found - expected).max() < LARGEST[precision]
    if name in METADATA:
        assert METADATA[name](folder) == source.metadata


def savedmodel_metadata(folder: Path) -> dict[str, str]:
    import tensorflow as tf

    texts = tf.saved_model.load(str(folder / "saved_model")).signatures["metadata"]()
    return {name: text.numpy().decode() for name, text in texts.items()}


def onnx_metadata(folder: Path) -> dict[str, str]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    (image,), (probabilities,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(uint8)", ["batch", 16, 16, 3])
    assert (probabilities.name, probabilities.type) == ("probabilities", "tensor(float)")
    return dict(session.get_modelmeta().custom_metadata_map)


def litert_metadata(folder: Path) -> dict[str, str]:
    with zipfile.ZipFile(folder / "model.tflite") as archive:
        return {name.removesuffix(".json"): archive.read(name).decode() for name in archive.namelist()}


def openvino_metadata(folder: Path) -> dict[str, str]:
    model = openvino_core().read_model(folder / "model.xml")
    assert model.get_rt_info(["model_info", "labels"]).astype(str).startswith("a_b ")
    assert [x.get_any_name() for x in (*model.inputs, *model.outputs)] == ["image", "probabilities"]
    return {name: model.get_rt_info(["thaw", name]).astype(str) for name in ("classes", "about")}


METADATA = {
    "savedmodel": savedmodel_metadata, "onnx": onnx_metadata, "litert": litert_metadata, "openvino": openvino_metadata,
}  # fmt: skip


def test_h5json_is_two_files_that_keras_alone_reads(model: Any, tmp_path: Path) -> None:
    FORMATS["h5json"].write(source_of(model, tmp_path / "kept.keras", "float32"), tmp_path, "float32")
    structure = json.loads((tmp_path / "model_structure.json").read_text())
    assert structure["class_name"] == "Functional"
    assert (tmp_path / "model.weights.h5").read_bytes()[:4] == b"\x89HDF"

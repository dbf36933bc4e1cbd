"""The table of formats: what each can do, what it needs, and who writes it and loads it again."""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from thaw.common.errors import UserError, did_you_mean, joined
from thaw.export import (
    h5json_format,
    keras_format,
    litert_format,
    onnx_format,
    openvino_format,
    savedmodel_format,
)
from thaw.export.portable_network import ExportSource, Runtime

PRECISIONS = ("float32", "float16", "int8")
AGREEMENT: Mapping[str, float] = {"float32": 0.99, "float16": 0.99, "int8": 0.97}  # by default
# How far a probability may lie off the network's at most. float32 does the same sums in another order, which is 1e-5;
# where classes are far apart, swapped colours may move much and yet no image to another class. int8 has its agreement.
LARGEST_DIFFERENCE: Mapping[str, float] = {"float32": 0.01, "float16": 0.1, "int8": 1.0}
# How far a probability of the same export may lie off on another machine.
TOLERANCE: Mapping[str, float] = {"float32": 1e-3, "float16": 1e-2, "int8": 5e-2}


@dataclass(frozen=True)
class ExportFormat:
    """A format.

    precisions: those it can be written in. runtime: the package that loads it again. packages: by the name under which
    they are imported, those that writing and loading need besides thaw's own. quantizer: likewise, for int8 alone.
    write: of the source, into a folder, in a precision. load: reads a folder; check.py in the export has its source.
    """

    name: str
    precisions: tuple[str, ...]
    runtime: str
    write: Callable[[ExportSource, Path, str], None]
    load: Callable[[Path], Runtime]
    packages: Mapping[str, str] = field(default_factory=dict)
    quantizer: Mapping[str, str] = field(default_factory=dict)

    @property
    def installed_beside(self) -> str:
        """What `pip install` gets on another machine, to load the export."""
        return f"{self.runtime} tensorflow" if self.runtime == "keras" else self.runtime


_ROWS = (
    ExportFormat("savedmodel", ("float32",), "tensorflow", savedmodel_format.write, savedmodel_format.load),
    ExportFormat(
        "onnx",
        PRECISIONS,
        "onnxruntime",
        onnx_format.write,
        onnx_format.load,
        {"tf2onnx": "tf2onnx>=1.17,<2", "onnx": "onnx>=1.20,<2", "onnxruntime": "onnxruntime>=1.24,<2"},
    ),
    ExportFormat(
        "litert",
        PRECISIONS,
        "ai-edge-litert",
        litert_format.write,
        litert_format.load,
        {"ai_edge_litert": "ai-edge-litert>=2.1,<3"},
    ),
    ExportFormat(
        "openvino",
        PRECISIONS,
        "openvino",
        openvino_format.write,
        openvino_format.load,
        {"openvino": "openvino>=2026.4,<2027"},
        {"nncf": "nncf>=3.4,<4"},
    ),
    ExportFormat("keras", ("float32",), "keras", keras_format.write, keras_format.load),
    ExportFormat("h5json", ("float32",), "keras", h5json_format.write, h5json_format.load),
)
FORMATS: Mapping[str, ExportFormat] = {row.name: row for row in _ROWS}


def find_format(name: str | None, precision: str) -> ExportFormat:
    """Return the row of a format that can be written in this precision, here and now.

    Raises:
        UserError: There is no such format, it has no such precision, or a package is missing.
    """
    if name is None:
        raise UserError(f"format= is missing: choose one of {joined(FORMATS)}")
    if name not in FORMATS:
        raise UserError(f"format={name} is no format.{did_you_mean(name, FORMATS)} Choose one of: {joined(FORMATS)}")
    row = FORMATS[name]
    if precision not in row.precisions:
        able = joined(other.name for other in _ROWS if precision in other.precisions)
        raise UserError(
            f"precision={precision}: format={name} is written in {joined(row.precisions)}. In {precision} there are "
            f"{able}"
        )
    _check_installed(row, precision)
    return row


def _check_installed(row: ExportFormat, precision: str) -> None:
    """Raise UserError that names the missing packages and thaw's extra; nothing is imported."""
    needed = {**row.packages, **(row.quantizer if precision == "int8" else {})}
    missing = [requirement for package, requirement in needed.items() if importlib.util.find_spec(package) is None]
    if missing:
        quoted = " ".join(f"'{requirement}'" for requirement in missing)
        raise UserError(
            f"format={row.name} in {precision} needs packages that are not installed: {joined(missing)}. They are "
            f"thaw's extra export: pip install '.[export]' in a checkout, or pip install {quoted}"
        )

"""A logged Keras model as MLflow's generic Python model (pyfunc) too, with own code that decodes and answers."""

import base64
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CODE, DATA = "code", "data"  # folders in a logged model; mlflow.keras has data/model.keras
CARD_FILE = "README.md"


@dataclass(frozen=True)
class PyfuncParts:
    """What makes a logged Keras model a Python model that needs nothing of this machine.

    loader_module: has `_load_pyfunc(path)`, called with the folder `data`. code: the modules to carry, by their path in
    the folder `code`. files: copied beside the network. requirements: pip's lines. params: of a prediction, by name
    with their defaults. outputs: columns of the table that is returned, with MLflow's types. example: an image file's
    bytes, the example input. card: Markdown. metadata: JSON.
    """

    loader_module: str
    code: Mapping[Path, Path]
    files: Sequence[Path]
    requirements: Sequence[str]
    params: Mapping[str, object]
    outputs: Mapping[str, str]
    example: bytes
    card: str
    metadata: Mapping[str, object] = field(default_factory=dict)


def signature(parts: PyfuncParts) -> Any:
    """Return the signature: parameters and output columns.

    It has no input columns, so that MLflow hands every input over as it is. Its schemas know no "path, bytes, text or
    array": declared as anything, lists of arrays and batches would be refused, as MLflow makes tables of them first.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    types = {bool: DataType.boolean, int: DataType.long}
    params = [ParamSpec(name, types[type(default)], default) for name, default in parts.params.items()]
    columns = [ColSpec(DataType[kind], name) for name, kind in parts.outputs.items()]
    return ModelSignature(outputs=Schema(columns), params=ParamSchema(params))


def input_example(parts: PyfuncParts) -> Any:
    """Return the example input: a table with one picture as base64 text in the column `image`."""
    import pandas as pd

    return pd.DataFrame({"image": [base64.b64encode(parts.example).decode()]})


def add_pyfunc(folder: Path, parts: PyfuncParts) -> None:
    """Make the model that `mlflow.keras.save_model` wrote to `folder` a Python model by the loader module.

    The flavor `keras` stays, and so does the network's file.
    """
    from mlflow.models import Model
    from mlflow.utils.file_utils import get_total_file_size

    for target, source in parts.code.items():
        (folder / CODE / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / CODE / target)
    for file in parts.files:
        shutil.copyfile(file, folder / DATA / file.name)
    (folder / CARD_FILE).write_text(parts.card, encoding="utf-8")
    model = Model.load(str(folder / "MLmodel"))
    model.flavors["python_function"] |= {"loader_module": parts.loader_module, "code": CODE, "data": DATA}
    model.signature, model.model_size_bytes = signature(parts), get_total_file_size(folder)
    model.save(str(folder / "MLmodel"))

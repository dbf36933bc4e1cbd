"""What a run's network takes along as a model of the store: decoder, settings, requirements, an example and a card."""

import io
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

import thaw
from thaw.models import saved_model
from thaw.results.classifier import SETTINGS_FILE, InferenceSettings
from thaw.tracking.pyfunc_flavor import PyfuncParts

LOADER_MODULE = "thaw.serve.mlflow_model"
PARAMS: Mapping[str, object] = {"top_k": 5, "calibrated": False}
OUTPUTS = {"image": "long", "rank": "long", "class": "string", "probability": "double"}
ACCEPTS = "paths, bytes of image files, base64 texts, uint8 arrays (H, W, 3) or (N, H, W, 3); one or many"

# What thaw's modules and MLflow import to load the model and predict; a test finds it out anew.
REQUIRED = (
    "mlflow", "tensorflow", "keras", "h5py", "ml-dtypes", "numpy", "pandas", "pillow", "filelock", "pyyaml", "rich",
)  # fmt: skip

_SOURCE = Path(thaw.__file__).parent
_TYPES_ONLY = re.compile(r"^if TYPE_CHECKING:.*\n(?:[ \t]+.*\n|\n)+", re.MULTILINE)
_IMPORT = re.compile(r"^[ \t]*(?:from (thaw[\w.]*) import (\([^)]*\)|.*)|import (thaw[\w.]*))", re.MULTILINE)


def served_model_parts(
    folder: Path, settings: InferenceSettings, card: str, metadata: Mapping[str, object]
) -> PyfuncParts:
    """Return what makes the network in `folder` a model that answers pictures as the run did.

    The folder has the files of `saved_model` and, of a run in int8, the quantised part.
    """
    names = (saved_model.CLASSES_FILE, saved_model.CONFIG_FILE, saved_model.GRAPH_FILE, saved_model.CALIBRATION_FILE)
    files = [folder / name for name in (*names, SETTINGS_FILE)]
    if settings.is_quantized:
        files += saved_model.quantized_files(folder)
    return PyfuncParts(
        loader_module=LOADER_MODULE,
        code={file.relative_to(_SOURCE.parent): file for file in source_files()},
        files=files,
        requirements=requirements(settings),
        params=PARAMS,
        outputs=OUTPUTS,
        example=example_image(),
        card=card,
        metadata={**metadata, "thaw": thaw.__version__, "accepts": ACCEPTS},
    )


def requirements(settings: InferenceSettings) -> list[str]:
    """Return pip's lines for predicting as the run did, each with the version installed here."""
    names = (*REQUIRED, *(["openvino"] if settings.engine == "openvino" or settings.is_quantized else []))
    return [f"{name}=={version(name)}" for name in names]


@cache
def source_files() -> tuple[Path, ...]:
    """Return thaw's own modules that the loader module imports, at once or later, and those that they import."""
    found, waiting = {_SOURCE / "__init__.py": True}, [LOADER_MODULE]
    while waiting:
        parts = waiting.pop().split(".")[1:]
        for depth in range(1, len(parts) + 1):
            module = _SOURCE.joinpath(*parts[:depth])
            file = next((f for f in (module.with_suffix(".py"), module / "__init__.py") if f.is_file()), None)
            if file is not None and file not in found:
                found[file] = True
                waiting += imported_modules(file.read_text(encoding="utf-8"))
    data = (file for folder in {file.parent for file in found} for file in folder.glob("*.txt"))
    return tuple(sorted({*found, *data}))


def imported_modules(source: str) -> Iterator[str]:
    """Yield the modules of thaw that a module's source imports, and names in them that may be modules.

    A pattern does, as parsing all files would take half a second of every run.
    """
    for match in _IMPORT.finditer(_TYPES_ONLY.sub("", source)):
        module, names, whole = match.groups()
        yield whole or module
        if module:
            yield from (f"{module}.{name}" for name in re.findall(r"\b(\w+)(?: as \w+)?", names.split("#")[0]))


def example_image() -> bytes:
    """Return a small PNG, the same one always: no picture of the data set leaves it by way of a model."""
    ramp = np.linspace(0, 255, 32, dtype=np.uint8)
    down, across = np.meshgrid(ramp, ramp, indexing="ij")
    file = io.BytesIO()
    Image.fromarray(np.dstack([across, down, 255 - across])).save(file, "PNG")
    return file.getvalue()

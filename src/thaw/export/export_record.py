"""What lies beside the model in an export's folder: export.json, classes.json and README.md."""

import importlib.metadata
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

import thaw
from thaw.common import hardware
from thaw.common.files import write_json
from thaw.data import decode
from thaw.export.canary import SCRIPT
from thaw.export.export_folder import RECORD_FILE, written_files
from thaw.export.export_formats import ExportFormat
from thaw.export.portable_network import INPUT, OUTPUT, Runtime

CLASSES_FILE, README_FILE = "classes.json", "README.md"
LATENCY_BATCHES = (1, 32)
REPEATS, MAX_SECONDS = 10, 5.0  # calls that are timed, after one that is not


@dataclass(frozen=True)
class ExportIdentity:
    """What was exported: the run's id and name, where they are known, the network's hashes, and what it takes."""

    run_id: str | None
    run_name: str | None
    weights_sha256: str
    graph_sha256: str
    class_names: Sequence[str]
    temperature: float | None
    image_size: int
    resize_rule: str


def metadata_texts(identity: ExportIdentity) -> dict[str, str]:
    """Return the texts that travel inside the model, by name; all are JSON."""
    about = {
        "run_id": identity.run_id,
        "weights_sha256": identity.weights_sha256,
        "image_size": identity.image_size,
        "pixels": "uint8 RGB",
        "resize": identity.resize_rule,
        "decoder": decode.VERSION,
        "temperature": identity.temperature,
        "thaw": thaw.__version__,
    }
    return {"classes": json.dumps(list(identity.class_names), ensure_ascii=False), "about": json.dumps(about)}


def measure_latency(run: Runtime, images: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Return the median milliseconds of a call, by the number of images; images: uint8 (N, S, S, 3), repeated."""
    found = {}
    for batch in LATENCY_BATCHES:
        inputs = np.resize(images, (batch, *images.shape[1:]))
        run(inputs)
        seconds: list[float] = []
        while len(seconds) < REPEATS and sum(seconds) < MAX_SECONDS:
            started = time.perf_counter()
            run(inputs)
            seconds.append(time.perf_counter() - started)
        found[str(batch)] = 1000 * median(seconds)
    return found


def model_bytes(folder: Path) -> int:
    """Return the bytes of an export's files."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def versions(row: ExportFormat) -> dict[str, str]:
    """Return the versions of what wrote and loaded the export."""
    packages = {"keras", "tensorflow", "numpy", "pillow", row.runtime, *row.packages, *row.quantizer}
    found = {"thaw": thaw.__version__}
    for package in sorted(name.replace("_", "-") for name in packages):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def write_record(
    folder: Path, row: ExportFormat, precision: str, identity: ExportIdentity, figures: dict[str, Any]
) -> None:
    """Write classes.json, README.md and, last, export.json; its keys are only ever added to."""
    class_names, size = list(identity.class_names), identity.image_size
    write_json(class_names, folder / CLASSES_FILE)
    (folder / README_FILE).write_text(_readme(row, identity), encoding="utf-8")
    record = {
        "written_by": "thaw export",
        "format": row.name,
        "precision": precision,
        "run_id": identity.run_id,
        "run_name": identity.run_name,
        "weights_sha256": identity.weights_sha256,
        "graph_sha256": identity.graph_sha256,
        "classes": class_names,
        "temperature": identity.temperature,
        "input": {"name": INPUT, "dtype": "uint8", "shape": [None, size, size, 3], "colours": "RGB"},
        "output": {"name": OUTPUT, "dtype": "float32", "shape": [None, len(class_names)]},
        "resize": identity.resize_rule,
        "decoder": decode.VERSION,
        **figures,
        "versions": versions(row),
        "processor": hardware.cpuinfo("model name"),
        "files": [*written_files(folder), RECORD_FILE],
    }
    write_json(record, folder / RECORD_FILE)


def _readme(row: ExportFormat, identity: ExportIdentity) -> str:
    size, classes, temperature = identity.image_size, len(identity.class_names), identity.temperature
    lines = [
        f"# {row.name}",
        "",
        f"Input `{INPUT}`: uint8 (N, {size}, {size}, 3), RGB, upright, resized as Pillow's BILINEAR does,",
        f"without keeping the ratio of the sides. Output `{OUTPUT}`: float32 (N, {classes}), in the order of",
        f"`{CLASSES_FILE}`. Nothing is to be subtracted or scaled: the network does that.",
        "",
        "```",
        f"pip install numpy pillow {row.installed_beside}",
        f"python {SCRIPT}    # prints OK, or what differs on this machine",
        "```",
        "",
        f"`{SCRIPT}` shows how to decode, to load and to run it. `{RECORD_FILE}` has how it compares with the network.",
    ]
    if row.runtime == "keras":
        lines += [
            "", f"Keras's own input is called `images` and takes numbers of any type from 0 to 255; of a sigmoid the "
            f"output is the probability of the second class alone, which `{SCRIPT}` makes both of.",
        ]  # fmt: skip
    if temperature is not None:
        lines += [
            "", f"The run fitted a temperature of {temperature:.4g}; the probabilities are those before it. Calibrated "
            "ones are `softmax(log(p) / temperature)`.",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"

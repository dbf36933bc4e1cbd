"""Format litert: a .tflite file for LiteRT (TensorFlow Lite), written and quantised by its own converter."""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thaw.export.portable_network import ExportSource, input_signature, portable_network

if TYPE_CHECKING:
    from thaw.export.portable_network import Runtime

FILE = "model.tflite"


def write(source: ExportSource, folder: Path, precision: str) -> None:
    """Write the network; its metadata are text files in a ZIP archive at the file's end, as LiteRT packs labels."""
    import tensorflow as tf

    settings: dict[str, Any] = {}
    if precision != "float32":
        settings["optimizations"] = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        settings["target_spec"] = {"supported_types": [tf.float16]}
    if precision == "int8":
        settings["representative_dataset"] = source.calibration_images
    portable_network(source).export(
        str(folder / FILE), format="litert", verbose=False, input_signature=input_signature(source), **settings
    )
    with zipfile.ZipFile(folder / FILE, "a") as archive:
        for name, text in source.metadata.items():
            archive.writestr(f"{name}.json", text)


def load(folder: "Path") -> "Runtime":
    """Return the network as LiteRT's interpreter runs it; it takes as many images as it is given."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(folder / "model.tflite")).get_signature_runner("serving_default")

    def run(images):  # type: ignore[no-untyped-def]
        return runner(image=images)["probabilities"]

    return run

"""Format openvino: OpenVINO's .xml and .bin, converted as thaw's own engine is, in int8 by NNCF."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from thaw.export.portable_network import INPUT, OUTPUT, ExportSource, with_all_classes
from thaw.frozen import engine, quantization
from thaw.frozen.openvino_runtime import import_openvino

if TYPE_CHECKING:
    from thaw.export.portable_network import Runtime

FILE = "model.xml"


def write(source: ExportSource, folder: Path, precision: str) -> None:
    """Write the network; its metadata are `rt_info` under `thaw`, labels also where OpenVINO's Model API reads them."""
    converted = engine.convert_to_openvino(with_all_classes(source.model))
    if source.calibration is not None:
        calibration = source.calibration
        converted = quantization.quantize(converted, lambda: ((batch,) for batch in calibration.batches()), calibration)
    for tensor, name in ((converted.inputs[0], INPUT), (converted.outputs[0], OUTPUT)):
        tensor.get_tensor().set_names({name})
        tensor.get_node().set_friendly_name(name)
    for name, text in source.metadata.items():
        converted.set_rt_info(text, ["thaw", name])
    labels = (label.replace(" ", "_") for label in json.loads(source.metadata["classes"]))
    converted.set_rt_info(" ".join(labels), ["model_info", "labels"])
    import_openvino().save_model(converted, folder / FILE, compress_to_fp16=precision == "float16")


def load(folder: "Path") -> "Runtime":
    """Return the network as OpenVINO runs it on the processor."""
    import openvino

    # By default processors with bfloat16 would compute in it.
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(folder / "model.xml"), "CPU", settings)

    def run(images):  # type: ignore[no-untyped-def]
        return compiled({"image": images})["probabilities"]

    return run

"""How a network is computed when it is used again: on which engine, in which precision, in how many parts."""

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from thaw.common.errors import UserError
from thaw.common.hardware import Hardware, detect_hardware, detect_processor
from thaw.frozen import engine
from thaw.frozen.engine import EngineChoice
from thaw.models import saved_model

if TYPE_CHECKING:
    from thaw.results.classifier import Classifier, InferenceSettings

FLOAT32_NOTE = (
    "note: these predictions are those of the network in float32, and its head was fitted on int8. The run's id or "
    "whole folder predicts as the run was evaluated, with engine and precision left out"
)


@dataclass(frozen=True, eq=False)
class Computation:
    """How a network is computed: in one part, or in two as its run computed it.

    choice: engine and precisions. boundary: layers of the first part; None: all of the network is one part. quantized:
    in int8 OpenVINO's model of the first part.
    """

    choice: EngineChoice
    boundary: int | None = None
    quantized: Any = None


def choose_computation(classifier: "Classifier", engine_asked: str, precision: str) -> Computation:
    """Return how the network is computed: as its run evaluated it, unless another engine or precision is asked for."""
    settings = classifier.judged_with
    if settings.is_quantized and engine_asked in ("auto", "openvino") and precision == "auto":
        return _quantized_computation(classifier)
    if precision == "auto" and _has_quantized_part(classifier):
        print(FLOAT32_NOTE, file=sys.stderr)
    choice = choose_prediction_engine(engine_asked, precision, settings, detect_hardware())
    judged = (settings.engine, settings.network_precision)
    as_evaluated = (choice.engine, choice.frozen) == judged and not settings.is_quantized
    if classifier.saved_network is not None and settings.boundary is not None and as_evaluated:
        return Computation(replace(choice, trained=settings.trained_precision), settings.boundary)
    return Computation(replace(choice, trained=choice.frozen))


def _has_quantized_part(classifier: "Classifier") -> bool:
    """Whether the head was fitted on int8: its run says so, or the quantised part lies beside the network."""
    folder = classifier.folder
    return classifier.judged_with.is_quantized or (
        folder is not None and (folder / saved_model.QUANTIZED_FILE).is_file()
    )


def _quantized_computation(classifier: "Classifier") -> Computation:
    """Return how a run computed a network whose frozen part was quantised. It needs no NNCF."""
    from thaw.frozen import quantization

    settings = classifier.judged_with
    assert classifier.folder is not None
    assert settings.boundary is not None
    if not detect_processor().openvino:
        raise UserError(
            "the run was judged in int8, which OpenVINO computes, and the package openvino is not installed. Install "
            "it, or predict with precision=float32, which runs the kept network"
        )
    file = saved_model.check_quantized(classifier.folder, settings.quantized_sha256)
    choice = EngineChoice("openvino", "", "int8", settings.trained_precision)
    return Computation(choice, settings.boundary, quantization.load_quantized(file))


def choose_prediction_engine(
    engine_asked: str, precision: str, settings: "InferenceSettings", hardware: Hardware
) -> EngineChoice:
    """Return the engine and precision that the network was evaluated with, unless others are asked for.

    That holds for few images too: OpenVINO converts a network and runs an image in no more time than TensorFlow traces
    and folds it (EfficientNet-Lite0 1.5 and 2.9 s, InceptionV3 5 and 10 s), and another engine rounds otherwise, by
    4e-6 of a probability in float32. A network whose engine this machine cannot run runs on TensorFlow, which is
    printed on standard error.
    """
    precision = settings.network_precision if precision == "auto" else precision
    wanted = engine_asked if engine_asked != "auto" else settings.engine

    def choose(name: str) -> EngineChoice:
        return engine.choose_engine(name, precision, "auto", depthwise=False, trains_backbone=False, hardware=hardware)

    try:
        return choose(wanted)
    except UserError:
        if engine_asked != "auto":
            raise
    choice = choose("auto")
    print(
        f"note: this machine cannot run {wanted} in {precision}, as the network was judged; it runs {choice.engine} in "
        f"{choice.frozen}",
        file=sys.stderr,
    )
    return choice

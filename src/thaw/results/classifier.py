"""A trained network as it is used again: loaded from its folder, and run as its run evaluated it.

Finding it is another module's: this one is part of the model in the store, and needs no store.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.common import tensorflow_setup
from thaw.common.errors import UserError
from thaw.common.files import write_json
from thaw.data.decode import DecodeOptions
from thaw.frozen.batch_runner import expand_sigmoid
from thaw.frozen.engine import EngineChoice, InferenceFunction
from thaw.models import saved_model
from thaw.models.saved_model import SavedNetwork
from thaw.results.computation_choice import choose_computation

SETTINGS_FILE = "inference.json"  # beside a network in the store


@dataclass(frozen=True)
class InferenceSettings:
    """What a run evaluated its network with.

    engine: auto if that is not known. frozen_precision, trained_precision: of its two parts. boundary: how many layers
    ran on the engine in the last stage; None for published networks and runs of earlier versions, which run as one, in
    the precision of the frozen part. quantized_sha256: of a quantised frozen part, which is kept beside the network.
    """

    engine: str = "auto"
    frozen_precision: str = "float32"
    trained_precision: str = "float32"
    boundary: int | None = None
    quantized_sha256: str = ""

    @property
    def network_precision(self) -> str:
        """In which precision the saved network's frozen part is run; a quantised part is not in it."""
        return "float32" if self.frozen_precision == "int8" else self.frozen_precision

    @property
    def is_quantized(self) -> bool:
        """Whether the frozen part was in int8; without frozen layers there is none."""
        return self.frozen_precision == "int8" and bool(self.boundary)


@dataclass(frozen=True)
class Classifier:
    """A network, the names of its outputs, and the side of its square input in pixels.

    bits: `dataset.bits` of its run. saved_network: the same network with its parts, if thaw trained it. folder: that of
    a network that thaw trained. temperature: that its run fitted on validation, if there is one. resize: as
    `dataset.resize` of its run.
    """

    model: Any
    class_names: list[str]
    image_size: int
    judged_with: InferenceSettings
    bits: int | None = None
    saved_network: Any = None
    folder: Path | None = None
    temperature: float | None = None
    resize: str = "squash"

    def decode_options(self, bits: int | None = None) -> DecodeOptions:
        """Return how its pictures are decoded; bits: as `dataset.bits`, instead of the run's."""
        return DecodeOptions(bits or self.bits, self.resize)


def load_trained(saved: SavedNetwork, settings: InferenceSettings) -> Classifier:
    """Return a network that thaw trained, from its files."""
    tensorflow_setup.start_tensorflow(0, None)
    network = saved_model.load_network(saved)
    names, size, bits = saved.class_names(), saved.image_size(), saved.dataset_bits()
    temperature = saved.temperature()
    resize = saved.dataset_resize()
    return Classifier(network.model, names, size, settings, bits, network, saved.folder, temperature, resize)


def settings_of_result(result: Path) -> InferenceSettings:
    """Return what a run evaluated its network with, as its result.json says."""
    return settings_of_content(json.loads(result.read_text(encoding="utf-8")) if result.is_file() else {})


def settings_of_content(content: Mapping[str, Any]) -> InferenceSettings:
    """Return what a run evaluated its network with, as the keys of its result.json say."""
    choice = content.get("parity", {}).get("judged_with") or content.get("engine")
    if not choice:
        return InferenceSettings()
    cut = content["stages"][-1].get("cut") if content.get("stages") and choice["engine"] != "keras" else None
    quantized = content.get("quantization", {}).get("sha256", "")
    trained = choice.get("trained_depthwise") or choice.get("trained", "float32")
    return InferenceSettings(choice["engine"], choice["frozen"], trained, cut, quantized)


def write_settings(settings: InferenceSettings, folder: Path) -> Path:
    """Write what a run evaluated its network with beside the network, for where there is neither run nor store."""
    file = folder / SETTINGS_FILE
    write_json(asdict(settings), file)
    return file


def read_settings(folder: Path) -> InferenceSettings:
    """Return what `write_settings` wrote into a network's folder."""
    content = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
    known = {field.name for field in fields(InferenceSettings)}
    return InferenceSettings(**{key: value for key, value in content.items() if key in known})


@dataclass(frozen=True)
class ProbabilityFunction:
    """A function of images, uint8 (B, S, S, 3), to probabilities, float32 (B, C). choice: what computes them."""

    choice: EngineChoice
    compute: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the probabilities of all classes."""
        return self.compute(images)


def probability_function(
    classifier: Classifier, engine_asked: str = "auto", precision: str = "auto", *, calibrated: bool = False
) -> ProbabilityFunction:
    """Return the function of a network's probabilities.

    It runs on the engine and in the precision of the network's run unless others are asked for. calibrated: the
    probabilities are those after the run's temperature; raises UserError where there is none.
    """
    calibrate = calibration_function(classifier) if calibrated else None
    function = uncalibrated_function(classifier, engine_asked, precision)
    if calibrate is None:
        return function
    return ProbabilityFunction(function.choice, lambda images: calibrate(function(images)))


def calibration_function(classifier: Classifier) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """Return a function of probabilities, float32 (N, C), to those after the run's temperature.

    Raises UserError where there is no temperature.
    """
    temperature = classifier.temperature
    if temperature is not None:
        from thaw.analysis.calibration import apply_temperature  # late: it imports statsmodels

        return lambda probabilities: apply_temperature(probabilities, temperature)
    why = (
        "a published network has none. Give model=RUN, or leave calibrated out"
        if classifier.saved_network is None
        else "its run is of an earlier version, or none could be fitted to its validation images (too few, all of one "
        "class, or all right). Leave calibrated out, or train the run again with more validation images"
    )
    raise UserError(f"calibrated=true: there is no temperature for this network's probabilities: {why}")


def uncalibrated_function(
    classifier: Classifier, engine_asked: str = "auto", precision: str = "auto"
) -> ProbabilityFunction:
    """Return the function of `probability_function`, without a temperature."""
    how = choose_computation(classifier, engine_asked, precision)
    if how.boundary is not None:
        from thaw.frozen.inference import TwoPartClassifier

        parts = TwoPartClassifier(classifier.saved_network, how.boundary, how.choice, quantized=how.quantized)
        return ProbabilityFunction(how.choice, parts)
    function = InferenceFunction(classifier.model, how.choice.engine, how.choice.frozen)
    return ProbabilityFunction(how.choice, lambda images: expand_sigmoid(function(images)[0]))

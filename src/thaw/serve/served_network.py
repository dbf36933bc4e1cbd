"""A run's network as the server uses it: on the run's engine, warmed up, with its temperature and heat maps."""

import json
from pathlib import Path
from typing import Any

from thaw.common.console import printable
from thaw.common.errors import UserError
from thaw.config.schema import BackboneConfig
from thaw.results import trained_classifier
from thaw.results.trained_classifier import Classifier
from thaw.serve import small_batches
from thaw.serve.heat_pictures import Heat, heat_function
from thaw.serve.image_service import ServedModel


def served_model(
    classifier: Classifier, asked: str | None, backbone: BackboneConfig, engine: str, precision: str, bits: int | None
) -> ServedModel:
    """Return a network to serve; images have been computed, so that the first client does not wait.

    Args:
        classifier: the network.
        asked: `model=`; None for the backbone's published network.
        backbone: of a published network.
        engine: as for `probability_function`.
        precision: likewise.
        bits: as `dataset.bits`; None: that of the network's run.
    """
    function = trained_classifier.probability_function(classifier, engine, precision)
    size = classifier.image_size
    compute = small_batches.fast_for_few(function, size, function.choice.frozen)
    calibrate = None
    if classifier.temperature is not None:
        calibrate = trained_classifier.calibration_function(classifier)
    facts: dict[str, Any] = {
        "image_size": size,
        "engine": function.choice.engine,
        "precision": function.choice.frozen,
        "temperature": classifier.temperature,
    }
    name = f"{backbone.name} (ImageNet)" if asked is None else model_name(asked, classifier.folder)
    options = classifier.decode_options(bits)
    names = [printable(name) for name in classifier.class_names]
    return ServedModel(name, names, size, options, compute, calibrate, _heat(classifier), facts)


def model_name(asked: str, folder: Path | None) -> str:
    """Return what clients are told: the run's id where its folder says so, never where the folder lies."""
    result = folder.parent / "result.json" if folder else None
    if result is not None and result.is_file():
        run_id = json.loads(result.read_text(encoding="utf-8")).get("run_id")
        if run_id:
            return f"run {run_id}"
    path = Path(asked).expanduser()
    return printable(path.absolute().name if path.is_dir() else asked)


def _heat(classifier: Classifier) -> Heat | None:
    try:
        return heat_function(classifier.model)
    except UserError:  # no feature map
        return None

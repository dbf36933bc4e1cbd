"""A trained network, or a published one: found by its run, its folder or its name."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from thaw import run_fingerprint, tracking
from thaw.common import tensorflow_setup
from thaw.common.errors import UserError
from thaw.config.schema import BackboneConfig
from thaw.models import backbone_table, saved_model
from thaw.models.saved_model import SavedNetwork
from thaw.results.classifier import (
    SETTINGS_FILE,
    Classifier,
    InferenceSettings,
    ProbabilityFunction,
    calibration_function,
    load_trained,
    probability_function,
    read_settings,
    settings_of_result,
    uncalibrated_function,
)
from thaw.tracking import StoredRun

__all__ = [
    "Classifier", "InferenceSettings", "ProbabilityFunction", "calibration_function", "find_saved_network",
    "find_saved_networks", "load_classifier", "load_trained", "probability_function", "settings_of_result",
    "settings_of_tags", "uncalibrated_function",
]  # fmt: skip


def load_classifier(model: str | None, backbone: BackboneConfig, outputs: Path, tracking_uri: str) -> Classifier:
    """Return the network of `model`, as `find_saved_network`, or else the published ImageNet network of `backbone`."""
    if model:
        return load_trained(*find_saved_network(model, outputs, tracking_uri))
    backbone_table.check_backbone(backbone)
    if backbone.weights == "none":
        raise UserError("backbone.weights=none would guess at random: use imagenet, a weights file, or model=RUN_ID")
    if backbone.weights != "imagenet" and not Path(backbone.weights).expanduser().is_file():
        raise UserError(
            f"backbone.weights={backbone.weights} names a run, whose network has another head than ImageNet's: predict "
            f"with it by model={backbone.weights}"
        )
    tensorflow_setup.start_tensorflow(0, None)
    from thaw.models import backbones, imagenet_classes

    published, size = backbones.build_imagenet_classifier(backbone), backbone_table.input_size(backbone)
    return Classifier(published, imagenet_classes.imagenet_class_names(), size, InferenceSettings())


def find_saved_network(model: str, outputs: Path, tracking_uri: str) -> tuple[SavedNetwork, InferenceSettings]:
    """Return the network of `model`, and its settings.

    `model` is a network's folder, a run's folder, MLflow's folder of a logged model, or what `tracking.find_run` takes.
    """
    in_folder = _network_in_folder(model)
    if in_folder is not None:
        return in_folder
    run = tracking.best_run(
        _find_run(model, outputs, tracking_uri), lambda line: print(f"note: {line}", file=sys.stderr)
    )
    return _network_of_run(run)


def find_saved_networks(model: str, outputs: Path, tracking_uri: str) -> list[tuple[SavedNetwork, InferenceSettings]]:
    """As `find_saved_network`, but a cross-validation stands for the networks of all its folds, if they were kept."""
    if _network_in_folder(model) is None:
        asked = _find_run(model, outputs, tracking_uri)
        if asked.is_sweep and (folds := tracking.fold_runs(asked)):
            return [_network_of_run(run) for run in folds]
    return [find_saved_network(model, outputs, tracking_uri)]


def _network_in_folder(model: str) -> tuple[SavedNetwork, InferenceSettings] | None:
    """Return the network that lies in a folder, or in the folder of its run."""
    folder = Path(model).expanduser()
    names = (saved_model.WEIGHTS_FILE, saved_model.CLASSES_FILE, saved_model.CONFIG_FILE)
    # MLflow's folder of a logged model has the network's in it.
    logged = (folder / "data",) if (folder / "MLmodel").is_file() else ()
    for network_folder in (folder, folder / "model", *logged):
        if all((network_folder / name).is_file() for name in names):
            run_folder = network_folder.absolute().parent
            tracking.check_single_run(run_folder)
            settings = _settings_beside(network_folder)
            return SavedNetwork(network_folder / saved_model.WEIGHTS_FILE, network_folder), settings
    return None


def _find_run(model: str, outputs: Path, tracking_uri: str) -> StoredRun:
    folder = Path(model).expanduser()
    _check_no_export(folder)
    known = tracking.find_run_of_folder(folder, tracking_uri, outputs) if folder.is_dir() else None
    return known[0] if known else tracking.find_run(tracking_uri, outputs, model)


def _check_no_export(folder: Path) -> None:
    """Raise UserError, which names the run, for the folder that the command export wrote."""
    try:
        record = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if not isinstance(record, dict) or record.get("written_by") != "thaw export":
        return
    run_id = record.get("run_id")
    advice = f"of run {run_id}: give model={run_id}" if run_id else "of a network without a run: give that one's folder"
    raise UserError(f"model={folder} is an export, for another runtime, {advice}")


def _network_of_run(run: StoredRun) -> tuple[SavedNetwork, InferenceSettings]:
    if run.status != "FINISHED":
        print(f"note: run {run.id} is {run.status}: {run.tags.get('thaw.reason', 'it did not end')}", file=sys.stderr)
    return SavedNetwork(run.model_file(), run.artifact_path("network")), settings_of_tags(run.tags)


def _settings_beside(network_folder: Path) -> InferenceSettings:
    """Return the settings of a network's folder, from the run's result.json or else from the folder itself."""
    result = network_folder.absolute().parent / "result.json"
    if not result.is_file() and (network_folder / SETTINGS_FILE).is_file():  # of a model of the store
        return read_settings(network_folder)
    return settings_of_result(result)


def settings_of_tags(tags: Mapping[str, str]) -> InferenceSettings:
    """Return what a run evaluated its network with, as the run's tags say."""
    if tags.get("thaw.parity") == "failed":
        return InferenceSettings("keras")
    frozen, cuts = tags.get("thaw.frozen_precision", "float32"), run_fingerprint.stored_cuts(tags)
    trained = tags.get("thaw.evaluated_precision", tags.get("thaw.precision", "float32"))
    quantized = tags.get(saved_model.QUANTIZED_TAG, "")
    name, boundary = tags.get("thaw.engine", "auto").split()[0], cuts[-1] if cuts else None
    return InferenceSettings(name, frozen, trained, boundary, quantized)

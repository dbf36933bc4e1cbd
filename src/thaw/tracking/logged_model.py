"""A run's logged model in MLflow: writing it with a signature, finding it, removing it."""

import shutil
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from thaw.tracking import pyfunc_flavor
from thaw.tracking.mlflow_store import MlflowStore, local_path, quiet_mlflow
from thaw.tracking.pyfunc_flavor import PyfuncParts

KERAS_FILE = "data/model.keras"  # where mlflow.keras puts it in a logged model


def write_model(
    model: Any,
    logged: Any,
    run_id: str,
    folder: Path,
    metadata: Mapping[str, object] | None,
    parts: PyfuncParts | None = None,
) -> None:
    """Write a built Keras model to `folder` in the layout that `mlflow.keras` loads.

    `logged` is MLflow's `LoggedModel` that the files belong to; `metadata` must be JSON, as class names are. With
    `parts` the model is a Python model that takes pictures; else one that takes the network's arrays.
    """
    quiet_mlflow()
    import keras
    import mlflow.keras
    from mlflow.models import Model, ModelSignature

    folder.mkdir(parents=True)  # for the example, which MLflow writes first
    mlflow.keras.save_model(
        keras.Model(model.inputs, model.outputs, name=model.name),  # the same layers, never compiled
        str(folder),
        mlflow_model=Model(
            artifact_path=logged.artifact_location,
            run_id=run_id,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
        ),
        signature=ModelSignature(_schema(model.inputs), _schema(model.outputs)),
        input_example=pyfunc_flavor.input_example(parts) if parts else None,
        pip_requirements=list(parts.requirements) if parts else _pinned("keras", "tensorflow", "numpy"),
        metadata=dict(metadata) if metadata else None,
    )
    if parts:
        pyfunc_flavor.add_pyfunc(folder, parts)


def _pinned(*names: str) -> list[str]:
    return [f"{name}=={version(name)}" for name in names]


def newest_complete_model(store: MlflowStore, experiment_id: str, run_id: str) -> Any | None:
    """Return the run's newest model that was written completely, or None."""
    complete = [model for model in _logged_models(store, experiment_id, run_id) if model.status == "READY"]
    return max(complete, key=lambda model: model.creation_timestamp, default=None)


def is_run_output(store: MlflowStore, run_id: str, model_id: str) -> bool | None:
    """Return True when the model is the run's output, else None."""
    outputs = store.client.mlflow_client.get_run(run_id).outputs
    return any(output.model_id == model_id for output in (outputs.model_outputs if outputs else [])) or None


def remove_other_models(store: MlflowStore, experiment_id: str, run_id: str, model_id: str) -> None:
    """Remove the models that the run logged before it was killed, and their files when they are on this machine."""
    for model in _logged_models(store, experiment_id, run_id):
        if model.model_id == model_id:
            continue
        store.client.delete_logged_model(model.model_id)
        files = local_path(model.artifact_location)
        if files is not None:
            shutil.rmtree(files, ignore_errors=True)


def _logged_models(store: MlflowStore, experiment_id: str, run_id: str) -> list[Any]:
    return list(store.client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'"))


def _schema(tensors: Iterable[Any]) -> Any:
    """Return Keras tensors (None, S, S, 3) as MLflow's schema (-1, S, S, 3); a single tensor has no name in it."""
    import numpy as np
    from mlflow.types import Schema, TensorSpec

    tensors = list(tensors)
    return Schema(
        [
            TensorSpec(
                np.dtype(t.dtype), tuple(-1 if n is None else n for n in t.shape), t.name if len(tensors) > 1 else None
            )
            for t in tensors
        ]
    )

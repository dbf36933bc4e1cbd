"""train.py with its imports done beforehand, so that its seconds are those of the work.

python -m thaw_lab.benchmark.thaw_scripts.thaw_train CHECKOUT REPORT.json recipe=bottleneck ...
"""

import importlib
import json
import sys
import time
from pathlib import Path

# What a run imports on its way, besides TensorFlow and Keras.
LATE = (
    "openvino",
    "mlflow",
    "mlflow.keras",
    "mlflow.store.tracking.sqlalchemy_store",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "sklearn.metrics",
    "sklearn.model_selection",
)


def main() -> None:
    root, report, *overrides = sys.argv[1:]
    started = time.perf_counter()
    from thaw.cli import main as cli
    from thaw.common import backend
    from thaw.tracking.mlflow_store import quiet_mlflow

    backend.import_tensorflow()
    quiet_mlflow()
    for name in LATE:
        importlib.import_module(name)
    importlib.import_module("thaw.run")
    importlib.import_module("thaw.training.stages")
    found = {"import_seconds": time.perf_counter() - started}
    started = time.perf_counter()
    sys.argv = [str(Path(root) / "train.py"), *overrides]
    cli.train()
    Path(report).write_text(json.dumps({**found, "work_seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()

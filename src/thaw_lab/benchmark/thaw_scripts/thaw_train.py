"""train.py with its imports done beforehand, so that its seconds are those of the work.

python -m thaw_lab.benchmark.thaw_scripts.thaw_train CHECKOUT recipe=bottleneck ... --json FILE
"""

import importlib
import json
import sys
import time
from pathlib import Path

# What a run imports on its way, besides TensorFlow, Keras and OpenVINO.
LATE_IMPORTS = (
    "mlflow", "mlflow.keras", "mlflow.store.tracking.sqlalchemy_store",
    "sklearn.metrics", "sklearn.model_selection", "thaw.run", "thaw.training.stages",
)  # fmt: skip


def main() -> None:
    """Import everything, run train.py, and write the seconds of both."""
    root, *overrides, _, report = sys.argv[1:]
    started = time.perf_counter()
    from thaw.cli import main as cli
    from thaw.common import tensorflow_setup
    from thaw.frozen import openvino_runtime
    from thaw.tracking.mlflow_store import quiet_mlflow

    tensorflow_setup.import_tensorflow()
    openvino_runtime.import_openvino()  # without its telemetry, whose forked process may hang
    quiet_mlflow()
    for name in LATE_IMPORTS:
        importlib.import_module(name)
    imported = time.perf_counter()
    sys.argv = [str(Path(root) / "train.py"), *overrides]
    cli.train_command()
    seconds = {"import_seconds": imported - started, "work_seconds": time.perf_counter() - imported}
    Path(report).write_text(json.dumps(seconds))


if __name__ == "__main__":
    main()

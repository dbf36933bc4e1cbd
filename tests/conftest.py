"""Small real pictures, and the real commands in a subprocess."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from thaw.common import console, environment, tensorflow_setup

ROOT = Path(__file__).parent.parent
os.environ |= environment.onednn_setting()  # before a test imports TensorFlow itself: it computes as in thaw's commands
_import_tensorflow = tensorflow_setup.import_tensorflow


def _import_for_deterministic_runs() -> None:
    """Import TensorFlow with one operation at a time: a test that only predicts may come before one that trains."""
    _import_tensorflow()
    _run_one_operation_at_a_time()


def _run_one_operation_at_a_time() -> None:
    import tensorflow as tf

    with suppress(RuntimeError):  # a test has computed with TensorFlow itself
        tf.config.threading.set_inter_op_parallelism_threads(1)


tensorflow_setup.import_tensorflow = _import_for_deterministic_runs

# What ./scripts/test --fast leaves out: files that need TensorFlow, other processes, servers or waiting.
NOT_FAST = {
    "cache": "cache_tool compaction crashes eviction",
    "cli": "argument_quoting empty_values error_handling instantiation_guard output_dirs resume sweep_checks",
    "common": "downloads environment quick_imports signals tensorflow_setup",
    "compare": "comparison_page",
    "config": "command_lines key_conflicts",
    "data": "corrupt_files split_properties",
    "explore": "backbone_features html_page",
    "export": "formats_agree families",
    "frozen": "activations activations_key chained_cuts conversion engine extraction_faults feature_export "
    "quantization quantized_parts",
    "lab": "faults",
    "models": "backbone_reuse backbones compute_precision convolutions eager_keras efficientnet_lite folding grad_cam "
    "graph_digest preprocessing weight_files",
    "report": "page page_in_browser report_files",
    "reproduce": "original_run",
    "results": "evaluation_seen final_features network_features network_pictures",
    "serve": "http_app load mlflow_model mlflow_server served_run",
    "sweeps": "claims many_machines ray_workers",
    "": "api determinism docs int8 package predict_matches_run run_fingerprint stored_names weights_leakage",
    "tools": "evaluate export feature_files predict registered_names runs",
    "tracking": "evaluation_runs fingerprint folder_owner leftovers mlflow_store model_registry orphaned_runs reopen "
    "retry run_lookup run_search store_schema sweep_runs tracked_run weights_lineage write_queue",
    "training": "chained_stages data_parallel fit found_rate head_fallback resumed_keys stages",
}


class NoTensorFlow:
    """An import hook: a test that needs TensorFlow is not fast."""

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] in ("tensorflow", "keras"):
            raise ImportError(f"{name} is imported in a fast test: add its file to NOT_FAST in tests/conftest.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="only tests that need neither TensorFlow nor processes")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--fast"):
        sys.meta_path.insert(0, NoTensorFlow())


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    folder = collection_path.parent.relative_to(ROOT).as_posix().removeprefix("tests").lstrip("/")
    slow = collection_path.stem.removeprefix("test_") in NOT_FAST.get(folder, "").split()
    return True if config.getoption("--fast") and slow else None


def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    if config.getoption("--fast"):  # real commands are processes that import TensorFlow
        items[:] = [
            item for item in items if not {"commands", "finished_runs"} & set(getattr(item, "fixturenames", ()))
        ]


def pytest_collection_finish() -> None:
    if "tensorflow" in sys.modules:  # by a test file's own import: its tests may compute before anything trains
        _run_one_operation_at_a_time()


@dataclass(frozen=True)
class Ran:
    """A command that ended: its exit code and what it printed."""

    code: int
    out: str
    err: str
    folder: Path

    def result(self) -> dict:
        """The result.json that the run's last lines name."""
        line = next(line for line in self.out.splitlines() if line.startswith("result "))
        return json.loads((self.folder / line.removeprefix("result ")).read_text())


class Commands:
    """Runs train.py and the scripts with an outputs folder of their own, from another working directory."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.outputs = folder, folder / "outputs"
        # No network, whatever the machine has: nothing answers at this port.
        proxy = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
        self.env = {
            **os.environ,
            **proxy,
            "THAW_OUTPUTS": str(self.outputs),
            "KERAS_HOME": str(folder / "keras"),
            "THAW_REPORT": "none",
        }

    def start(self, *arguments: str) -> subprocess.Popen:
        script = arguments[0] if arguments[0].endswith(".py") else "train.py"
        rest = arguments[1:] if script == arguments[0] else arguments
        return subprocess.Popen(
            [sys.executable, "-u", str(ROOT / script), *rest],
            cwd=self.folder, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def start_and_stop(self, folder: Path, checkpoint: str, number: signal.Signals, *arguments: str) -> None:
        """Start a run in `folder` and send it a signal once it has a checkpoint whose name matches."""
        process = self.start(*arguments, f"hydra.run.dir={folder}")
        try:
            while not list(folder.glob(f"checkpoints/{checkpoint}")):
                assert process.poll() is None, process.communicate()
                time.sleep(0.01)
        finally:
            process.send_signal(number)
            process.communicate()

    def run(self, *arguments: str) -> Ran:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        return Ran(process.returncode, out, err, self.folder)

    def client(self):
        from thaw.tracking import open_store

        return open_store(f"sqlite:///{self.outputs}/mlflow.db", self.outputs).client


@pytest.fixture(scope="session", autouse=True)
def _no_store_in_the_working_directory(tmp_path_factory) -> None:
    """MLflow makes a default store where it stands whenever a client looks for artifacts."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/default.db"


@pytest.fixture(autouse=True)
def _leave_the_command_line_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some tests run in-process what a command's start does: it sets these for the process."""
    monkeypatch.setattr(console._Shell, "folder", console._Shell.folder)
    monkeypatch.setattr(console._Shell, "output_is_data", console._Shell.output_is_data)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    if "THAW_OUTPUTS" in os.environ:
        monkeypatch.setenv("THAW_OUTPUTS", os.environ["THAW_OUTPUTS"])
    else:
        monkeypatch.setenv("THAW_OUTPUTS", "")
        monkeypatch.delenv("THAW_OUTPUTS")


@pytest.fixture(scope="module")
def commands(tmp_path_factory) -> Commands:
    """For one module: tests look for what they made in its outputs, whichever modules ran before."""
    return Commands(tmp_path_factory.mktemp("a user's folder"))


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """Three classes of 20 pictures that differ in colour and texture, in class folders."""
    return make_photos(tmp_path_factory.mktemp("photos") / "my photos (1)")


def make_photos(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for label, (name, colour) in enumerate(
        {"apple": (200, 40, 40), "lime": (60, 190, 60), "sky": (70, 90, 210)}.items()
    ):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            stripes = 40 * (np.indices((48, 64)).sum(axis=0) // (2 + 3 * label) % 2)[..., None]
            picture = np.clip(np.array(colour) + stripes + rng.normal(0, 25, (48, 64, 3)), 0, 255)
            Image.fromarray(picture.astype(np.uint8)).save(folder / name / f"{i:02}.jpg")
    return folder


@dataclass(frozen=True)
class FinishedRuns:
    """Two runs on the same photos in one store, to look at and not to change: other tests read them too.

    finetuned: stage head, then one thaw, with its whole report. bottleneck: the head alone, without a report.
    """

    commands: Commands
    photos: Path
    finetuned: Ran
    bottleneck: Ran


@pytest.fixture(scope="session")
def finished_runs(tmp_path_factory) -> FinishedRuns:
    """The two runs, trained once for all processes of a test session."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished runs"
    with FileLock(f"{folder}.lock"):
        commands = Commands(folder)
        if not (folder / "ran.json").exists():
            folder.mkdir()
            photos = make_photos(folder / "photos")
            small = (
                "dataset=image_folder", f"dataset.path={photos}", "backbone.image_size=64", "train.batch_size=8",
                "head.hidden=32",
            )  # fmt: skip
            ran = [
                commands.run(*small, "report=full", "finetune.head_epochs=3", "finetune.epochs=2",
                             "optimizer.learning_rate=1e-3"),
                commands.run(*small, "recipe=bottleneck", "bottleneck.epochs=2"),
            ]  # fmt: skip
            assert [run.code for run in ran] == [0, 0], [run.err for run in ran]
            (folder / "ran.json").write_text(json.dumps([[run.code, run.out, run.err] for run in ran]))
        ran = [Ran(*entry, folder) for entry in json.loads((folder / "ran.json").read_text())]
    return FinishedRuns(commands, folder / "photos", *ran)

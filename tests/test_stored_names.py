"""Names that are data: later versions read what runs write, whatever the code that writes it is called by then."""

import io
import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from thaw import tracking
from thaw.models import saved_model

from .conftest import Commands, Ran

SMALL = (
    "dataset=digits", "dataset.limit_per_class=8", "backbone.image_size=64", "train.batch_size=16", "head.hidden=8",
    "augment=light", "head.dropout=0.2", "finetune.head_epochs=1", "finetune.epochs=60", "train.patience=50",
    "report=full", "finetune.freeze=block7a",  # few weights thaw: a checkpoint is small and quickly written
)  # fmt: skip
HEAD = {"format", "place", "run", "state"}
STATE = {"before", "callbacks", "done", "elapsed", "ended", "history", "seconds"}
DONE = {
    "cache_bytes", "extract_seconds", "features_kept", "fit", "hits", "judge_seconds", "misses", "trainable_params",
    "unmoved",
}  # fmt: skip
EPOCH = {
    "accuracy", "epoch", "images_per_second", "learning_rate", "loss", "stage", "val_accuracy", "val_loss",
}  # fmt: skip
ARRAYS = {"weights", "optimizer", "metrics", "seeds"}
RESULT = {
    "run_id", "objective", "metrics", "stages", "seconds", "images_per_second", "weights_sha256", "config_sha256",
    "data_sha256", "model", "class_names", "engine", "parity", "graph_sha256", "cache", "quantization",
    "calibration", "verdict", "report", "auto",
}  # fmt: skip
PARTS = {
    "objective": {"name", "value"},
    "seconds": {"total", "scan", "extract", "train", "evaluate", "report"},
    "images_per_second": {"train", "extract", "evaluate"},
    "engine": {
        "engine", "version", "frozen", "trained", "device", "tf32", "draft", "training_step", "trained_depthwise",
        "devices",
    },
    "parity": {
        "passed", "images", "differ", "max_probability_difference", "max_logit_difference", "judged_with", "seconds",
    },
    "cache": {"hits", "misses", "bytes"},
    "calibration": {"temperature", "fitted_on", "images", "test", "test_calibrated"},
}  # fmt: skip
STAGE = {
    "name", "epochs", "seconds", "learning_rate", "learning_rate_found", "frozen_layers", "trainable_params",
    "boundary", "cut", "kept",
}  # fmt: skip
TAGS = {
    "thaw.overrides", "thaw.recipe", "thaw.folder", "thaw.cwd", "thaw.host", "thaw.engine", "thaw.precision",
    "thaw.frozen_precision", "thaw.training_step", "thaw.evaluated_precision",
    "thaw.stage", "thaw.complete", "thaw.objective", "thaw.parity", "thaw.resumed",
    "fingerprint.git.commit", "fingerprint.seed", "fingerprint.data_sha256", "fingerprint.device",
    "fingerprint.cpu.model",
    "fingerprint.graph_sha256", "fingerprint.weights_sha256", "fingerprint.cuts", "fingerprint.chain",
    "fingerprint.package.keras",
}  # fmt: skip
FILES = {
    "run.json", "run.lock", "manifest.csv", "result.json", "model/model.keras", "model/classes.json",
    "model/config.yaml",
    "model/graph.json", "model/calibration.json", "model/inference.json", "model/model_card.md",
    "report/report.html", "report/figures.json",
    "report/confusion.png", "report/curves.png", "report/predictions.csv", "report/per_class.csv",
    "report/history.json", ".hydra/overrides.yaml", ".hydra/config.yaml", ".hydra/hydra.yaml",
}  # fmt: skip


@pytest.fixture(scope="module")
def killed_and_resumed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes], Ran, Commands]:
    """A run's folder, its checkpoints as a kill -9 in stage thaw left them, and the run that resumed it."""
    commands = Commands(tmp_path_factory.mktemp("stored"))
    folder = commands.outputs / "run"
    commands.start_and_stop(folder, "stage1-epoch[1-9]*.npz", signal.SIGKILL, *SMALL)
    checkpoints = {file.name: file.read_bytes() for file in folder.glob("checkpoints/*.npz")}
    return folder, checkpoints, commands.run(f"resume={folder}"), commands


def test_a_checkpoint_names_what_it_holds_as_ever(killed_and_resumed) -> None:
    _, checkpoints, *_ = killed_and_resumed
    name = next(name for name in checkpoints if re.match("stage1-epoch[1-9]", name))
    with np.load(io.BytesIO(checkpoints[name]), allow_pickle=False) as file:
        names, head = set(file.files), json.loads(file["head"].tobytes())
    assert {n.split("/")[1] for n in names - {"head", "sha256"}} - {"best"} == ARRAYS
    assert {n.split("/")[0] for n in names} == {"array", "head", "sha256"}
    assert set(head) == HEAD
    assert head["format"] == 1
    assert len(head["place"]) == 3
    state = head["state"]
    assert set(state) == STATE
    assert set(state["callbacks"]["EarlyStopping"]) == {"wait", "stopped_epoch", "best", "best_epoch"}
    assert set(state["done"][0]) == DONE
    assert set(state["done"][0]["fit"]) == {"history", "seconds"}
    assert set(state["history"][0]) == EPOCH


def test_a_run_leaves_the_files_and_keys_that_others_read(killed_and_resumed) -> None:
    folder, _, ran, _ = killed_and_resumed
    assert ran.code == 0, ran.err
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert {file for file in files if not file.startswith("resumed_")} >= FILES
    assert set(json.loads((folder / "run.json").read_text())) == {"run_id", "tracking_uri"}
    result = ran.result()
    assert set(result) == RESULT
    for part, keys in PARTS.items():
        assert set(result[part]) == keys, part
    assert set(result["stages"][0]) == STAGE
    assert result["objective"]["name"] == "val/accuracy"


def test_a_run_has_the_tags_and_metrics_that_others_read(killed_and_resumed) -> None:
    _, _, ran, commands = killed_and_resumed
    run = commands.client().get_run(ran.result()["run_id"])
    assert set(run.data.tags) >= TAGS
    assert set(run.data.metrics) >= {
        "epoch/loss", "epoch/val_loss", "epoch/learning_rate", "val/accuracy", "test/loss", "best/epoch",
        "best/val_loss", "best/val_accuracy",
    }  # fmt: skip
    assert {"finetune.freeze", "dataset.limit_per_class", "optimizer.learning_rate"} <= set(run.data.params)


def test_what_a_store_refused_is_kept_under_the_names_it_had(tmp_path: Path) -> None:
    from thaw.tracking.unsent_file import UnsentWrites, read_unsent

    UnsentWrites("a run", "a store", tags={"thaw.stage": "head"}, status="FAILED").write(tmp_path)
    content = json.loads((tmp_path / "unsent.json").read_text())
    assert set(content) == {
        "run_id", "tracking_uri", "metrics", "tags", "status", "end_time", "files", "datasets",
    }  # fmt: skip
    content["metrics"] = [["epoch/loss", "0.5", 17, 1]]
    (tmp_path / "unsent.json").write_text(json.dumps(content))
    spooled = read_unsent(tmp_path)
    assert spooled is not None
    assert spooled.metrics[0].step == 1


def test_names_of_drafts_and_of_quantised_networks_stay() -> None:
    """The runs that have them are made in tests/test_int8.py, where NNCF is installed."""
    assert (tracking.DRAFT_TAG, tracking.REPEATS_DRAFT_TAG) == ("thaw.draft", "thaw.repeats_draft")
    assert saved_model.QUANTIZED_TAG == "thaw.quantized_sha256"
    assert saved_model.QUANTIZED_FILE == "frozen_int8.xml"

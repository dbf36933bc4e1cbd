"""Runs that the version before the move to plain names wrote: resumed, reproduced and predicted by this one."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import ROOT, Commands

PREVIOUS = "215215e7648bd7c1dce8efbc96d925ecd520f483"
SMALL = (
    "dataset=digits", "dataset.limit_per_class=20", "backbone.image_size=64", "train.batch_size=16", "augment=light",
    "head.dropout=0.2", "head.hidden=32", "finetune.head_epochs=2",
)  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Commands:
    return Commands(tmp_path_factory.mktemp("previous"))


@pytest.fixture(scope="module")
def old_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of that version, from this repository's history."""
    folder = tmp_path_factory.mktemp("old") / "thaw"
    cloned = subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], capture_output=True, check=False)
    found = subprocess.run(["git", "-C", str(folder), "checkout", "-q", PREVIOUS], capture_output=True, check=False)
    if cloned.returncode or found.returncode:
        pytest.skip(f"the history of this checkout does not reach back to {PREVIOUS[:7]}")
    assert (folder / "src" / "thaw" / "config" / "cli.py").is_file()  # else this would compare the code with itself
    return folder


def old(commands: Commands, code: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-u", str(code / "train.py"), *arguments]
    return subprocess.Popen(
        command, cwd=commands.folder, env=commands.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def wait(process: subprocess.Popen) -> None:
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output.decode()


def outcome(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def test_a_finished_run_is_reproduced_to_the_last_bit_and_predicts(commands: Commands, old_code: Path) -> None:
    folder = commands.outputs / "finished"
    wait(old(commands, old_code, *SMALL, "finetune.epochs=2", f"hydra.run.dir={folder}"))
    ran = commands.run("scripts/reproduce.py", f"run={outcome(folder)['run_id']}")
    assert ran.code == 0, ran.out + ran.err
    assert "identical" in ran.out
    ran = commands.run("scripts/predict.py", f"model={folder}", f"images={folder}/report", "format=csv")
    assert ran.code == 0, ran.err
    assert len(ran.out.splitlines()) > 1


def test_a_killed_run_ends_with_the_weights_that_the_old_version_ends_with(commands: Commands, old_code: Path) -> None:
    """The store names a run's folder, so each version resumes one of two runs that were killed alike."""
    weights = []
    for name in ("killed", "killed_too"):
        folder = commands.outputs / name
        process = old(commands, old_code, *SMALL, "finetune.epochs=30", f"hydra.run.dir={folder}")
        while not list(folder.glob("checkpoints/stage1-epoch[1-9]*.npz")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if name == "killed":
            ran = commands.run(f"resume={folder}")
            assert ran.code == 0, ran.err
        else:
            wait(old(commands, old_code, f"resume={folder}"))
        weights.append(outcome(folder)["weights_sha256"])
    assert weights[0] == weights[1]


def test_a_sweep_is_predicted_and_reproduced_by_its_id(commands: Commands, old_code: Path) -> None:
    folder = commands.outputs / "sweep"
    sweep = ("-m", *SMALL, "recipe=bottleneck", "bottleneck.epochs=2", "augment=none")
    sweep += ("optimizer.learning_rate=1e-3,1e-4",)
    wait(old(commands, old_code, *sweep, f"hydra.sweep.dir={folder}"))
    parent = (folder / "parent_run_id").read_text().strip()
    shutil.copy(ROOT / "docs" / "assets" / "run.png", commands.folder / "picture.png")
    ran = commands.run("scripts/predict.py", f"model={parent}", "images=picture.png", "format=csv")
    assert ran.code == 0, ran.err
    ran = commands.run("scripts/reproduce.py", f"run={parent}")
    assert ran.code == 0, ran.out + ran.err

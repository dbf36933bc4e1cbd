"""A real training, killed three times on its way, ends as one that nobody touched; the whole command is `slow`."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from thaw.config.tool_schemas import FaultsConfig
from thaw_lab.faults.kill_trials import kill_and_resume
from thaw_lab.faults.run_faults import baseline_trial
from thaw_lab.faults.triggers import EVALUATION, THAW, WRITE, during_checkpoint_write, during_evaluation, during_stage
from thaw_lab.faults.workspace import Workspace
from thaw_lab.process import ProcessGroup

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="faults are made with signals")


@pytest.mark.slow
def test_killed_in_a_stage_in_a_write_and_in_evaluation_it_ends_bit_for_bit_the_same(tmp_path) -> None:
    """kill -9, three times in one run; beside it the one that nobody touches."""
    with ProcessGroup().kill_on_exit() as processes, ThreadPoolExecutor(1) as pool:
        workspace = Workspace(FaultsConfig(), ROOT, tmp_path, tmp_path / "logs", tmp_path / "failed", processes)
        untouched = pool.submit(baseline_trial, workspace, number=1)
        triggers = [during_stage(THAW, 1), during_checkpoint_write(THAW, 3, 0.002), during_evaluation(1.0)]
        trial = kill_and_resume(workspace.new_trial_dir("killed"), triggers, by_run_dir=True)
        assert untouched.result().wrong == []
    assert trial is not None
    assert trial.wrong == [], (tmp_path / "logs" / "killed.log").read_text()
    first, *later = trial.notes["fell"]
    assert first in (THAW, WRITE)  # on a busy machine the kill in the stage falls into its checkpoint's write
    assert later == [WRITE, EVALUATION]


@pytest.mark.slow
def test_the_whole_command(tmp_path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "faults.py"), "kills=8", f"output={tmp_path}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads((tmp_path / "faults.json").read_text())
    assert all(row["held"] == row["trials"] for row in written["rows"])
    assert sum(row["trials"] for row in written["rows"] if row["fault"].startswith("kill -9")) == 8
    assert sorted(file.name for file in tmp_path.iterdir()) == ["faults.json", "logs"]

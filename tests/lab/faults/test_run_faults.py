"""The command with trials that fail, are skipped, or cannot be made."""

import dataclasses
import json
import sys

import pytest

from thaw.common.errors import UserError
from thaw.config.tool_schemas import FaultsConfig
from thaw_lab.faults import run_faults
from thaw_lab.faults.snapshots import RunSnapshot
from thaw_lab.faults.trial import Trial, TrialSkipped
from thaw_lab.faults.workspace import BaselineRun, TrialFunction, error_problems
from thaw_lab.process import CompletedCommand

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="faults are made on POSIX systems")


def outcome(*args, **notes) -> TrialFunction:
    return lambda workspace: Trial(*args, **notes)


@pytest.fixture
def run_trials(tmp_path, monkeypatch):
    """Run the tool with these trials as its only fault; return what it wrote, and its error."""
    monkeypatch.setattr(run_faults.machine, "describe_machine", lambda root: {"cpus": 2, "cpu": "a processor"})
    monkeypatch.setattr(run_faults.machine, "version_line", lambda hardware: "versions")

    def baseline(workspace) -> Trial:
        workspace.baselines.append(BaselineRun(RunSnapshot("", "", [], {}, {}, [], [], [], []), 1.0, 1.0))
        return Trial("none", "identical")

    monkeypatch.setattr(run_faults, "BASELINE_TRIALS", [baseline])

    def run(*trials: TrialFunction) -> tuple[dict, str]:
        monkeypatch.setattr(run_faults, "fault_trials", lambda config: {"torn": list(trials)})
        error = ""
        try:
            run_faults.faults(FaultsConfig(what="torn", output=str(tmp_path)), tmp_path)
        except UserError as raised:
            error = str(raised)
        assert not list(tmp_path.glob("work-*"))
        return json.loads((tmp_path / "faults.json").read_text()), error

    return run


def test_trials_that_held_are_written_and_the_command_ends_well(run_trials) -> None:
    written, error = run_trials(outcome("torn", "identical"))
    assert error == ""
    assert [(row["fault"], row["trials"], row["held"]) for row in written["rows"]] == [("none", 1, 1), ("torn", 1, 1)]


def test_killed_runs_are_counted_under_the_table(run_trials, capsys) -> None:
    run_trials(outcome("kill -9: evaluation", "identical"), outcome("kill -9: stage head", "", ["no"]))
    assert "1 of 2 killed runs ended bit for bit as the untouched one" in capsys.readouterr().out


def test_a_trial_that_did_not_hold_fails_the_command(run_trials) -> None:
    written, error = run_trials(outcome("torn", "", ["weights_sha256 differs"]), outcome("torn", "identical"))
    assert "1 of 3 trials did not hold: torn · weights_sha256 differs" in error
    assert (written["rows"][1]["trials"], written["rows"][1]["held"]) == (2, 1)


def test_a_trial_that_raises_did_not_hold_and_a_skipped_one_says_why(run_trials) -> None:
    def broken(workspace) -> Trial:
        raise FileNotFoundError("result.json")

    def skipped(workspace) -> Trial:
        raise TrialSkipped("needs root")

    written, error = run_trials(broken, skipped)
    assert "1 of 2 trials did not hold: torn · FileNotFoundError: result.json" in error
    assert {trial["seen"] for trial in written["trials"]} == {"identical", "", "skipped: needs root"}


def test_ctrl_c_keeps_what_was_seen(run_trials, tmp_path) -> None:
    def interrupted(workspace) -> Trial:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trials(interrupted)
    assert json.loads((tmp_path / "faults.json").read_text())["trials"][0]["fault"] == "none"
    assert not list(tmp_path.glob("work-*"))


def test_every_fault_of_the_config_has_trials() -> None:
    trials = run_faults.fault_trials(FaultsConfig(kills=3))
    (what,) = (field for field in dataclasses.fields(FaultsConfig) if field.name == "what")
    assert ["all", *trials] == list(what.metadata["choices"])
    assert {name: len(of_fault) for name, of_fault in trials.items()} == {
        "kills": 3, "torn": 22, "full": 3, "readonly": 4, "locked": 2, "absent": 1, "together": 1, "stops": 10,
        "diverged": 1, "offline": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("code", "err", "said"),
    [
        (1, "error: no room\n", []),
        (0, "error: no room\n", ["exit code 0 instead of 1"]),
        (1, "Traceback (most recent call last):\nOSError: no\n", ["a traceback: OSError: no"]),
        (1, "error: a\nerror: b\n", ["not one line of error but 2: error: b"]),
        (1, "", ["not one line of error but 0: "]),
    ],
)
def test_a_clear_error_is_one_line_and_exit_code_1(code, err, said) -> None:
    assert error_problems(CompletedCommand(code, [], [], err)) == said

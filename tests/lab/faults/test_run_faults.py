"""What the command does with trials that fail, are skipped, or cannot be made."""

import json
import sys

import pytest

from thaw.common.errors import UserError
from thaw.config.tool_schemas import FaultsConfig
from thaw_lab.faults import run_faults
from thaw_lab.faults.snapshots import RunSnapshot
from thaw_lab.faults.trial import Trial, TrialSkipped
from thaw_lab.faults.workspace import BaselineRun, error_problems
from thaw_lab.process import CompletedCommand

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="faults are made on POSIX systems")


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Run the tool with these works as its only fault; what it wrote, and its error."""
    monkeypatch.setattr(run_faults.machine, "describe", lambda root: {"cpus": 2, "cpu": "a processor"})
    monkeypatch.setattr(run_faults.machine, "versions", lambda here: "versions")

    def reference(yard):
        yard.baselines.append(BaselineRun(RunSnapshot("", "", [], {}, {}, [], [], [], []), 1.0, 1.0))
        return [lambda: Trial("none", "identical")]

    monkeypatch.setattr(run_faults.baseline_run, "baseline_trials", reference)

    def run(*works) -> tuple[dict, str]:
        monkeypatch.setattr(run_faults, "FAULTS", {"torn": lambda yard: list(works)})
        error = ""
        try:
            run_faults.faults(FaultsConfig(what="torn", output=str(tmp_path)), tmp_path)
        except UserError as raised:
            error = str(raised)
        assert not list(tmp_path.glob("work-*"))
        return json.loads((tmp_path / "faults.json").read_text()), error

    return run


def test_what_held_is_written_and_ends_well(made) -> None:
    written, error = made(lambda: Trial("torn", "identical"))
    assert error == ""
    assert [(row["fault"], row["trials"], row["held"]) for row in written["rows"]] == [("none", 1, 1), ("torn", 1, 1)]


def test_killed_runs_are_counted_under_the_table(made, capsys) -> None:
    made(lambda: Trial("kill -9: evaluation", "identical"), lambda: Trial("kill -9: stage head", "", ["no"]))
    assert "1 of 2 killed runs ended bit for bit as the untouched one" in capsys.readouterr().out


def test_what_did_not_hold_fails_the_command(made) -> None:
    written, error = made(lambda: Trial("torn", "", ["weights_sha256 differs"]), lambda: Trial("torn", "identical"))
    assert "1 of 3 trials did not hold: torn · weights_sha256 differs" in error
    assert (written["rows"][1]["trials"], written["rows"][1]["held"]) == (2, 1)


def test_a_trial_that_cannot_be_read_did_not_hold_and_a_skipped_one_says_why(made) -> None:
    def broken() -> Trial:
        raise FileNotFoundError("result.json")

    def skipped() -> Trial:
        raise TrialSkipped("needs root")

    written, error = made(broken, skipped)
    assert "1 of 2 trials did not hold: torn · FileNotFoundError: result.json" in error
    assert {trial["seen"] for trial in written["trials"]} == {"identical", "", "skipped: needs root"}


def test_ctrl_c_keeps_what_was_seen(made, tmp_path) -> None:
    def interrupted() -> Trial:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(interrupted)
    assert json.loads((tmp_path / "faults.json").read_text())["trials"][0]["fault"] == "none"
    assert not list(tmp_path.glob("work-*"))


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

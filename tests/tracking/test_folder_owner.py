"""A folder belongs to one run. The real commands; they end before TensorFlow is imported."""

import json
from pathlib import Path

import pytest

from thaw.common.errors import UserError
from thaw.tracking import run_lock
from thaw.tracking.folder_owner import check_not_running, check_run_folder, check_sweep_folder, owner_of_folder
from thaw.tracking.run_lookup import find_run_of_folder
from thaw.tracking.tracked_run import start_run

REFUSED = "which another run must not change"


def holds(folder: Path, **files: str) -> dict[str, str]:
    """A folder as an earlier run left it."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("- seed=1\n")
    (folder / "model").mkdir()
    (folder / "run.json").write_text(json.dumps({"run_id": "a" * 32, "tracking_uri": "sqlite:///x.db"}))
    (folder / "result.json").write_text(json.dumps({"run_id": "a" * 32}))
    return content(folder)


def content(folder: Path) -> dict[str, str]:
    return {str(f.relative_to(folder)): f.read_text() if f.is_file() else "" for f in sorted(folder.rglob("*"))}


def test_a_folder_that_holds_a_run_is_refused_before_anything_in_it_changes(commands, tmp_path) -> None:
    folder = tmp_path / "one run"
    before = holds(folder)
    ran = commands.run("dataset=digits", f"hydra.run.dir='{folder}'")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"error: hydra.run.dir={folder}: this folder holds run.json of run {'a' * 32}")
    assert "Choose another hydra.run.dir, or resume that run: resume=FOLDER" in ran.err
    assert content(folder) == before


def test_the_folder_of_a_sweep_is_not_taken_by_another_sweep(commands, tmp_path) -> None:
    before = holds(tmp_path / "sweep" / "0")
    ran = commands.run("-m", "dataset=digits", "seed=0,1", f"hydra.sweep.dir={tmp_path}/sweep")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"error: hydra.sweep.dir={tmp_path}/sweep: this folder holds 0/run.json")
    assert content(tmp_path / "sweep" / "0") == before
    assert [path.name for path in (tmp_path / "sweep").iterdir()] == ["0"]


@pytest.mark.parametrize(
    "file_name", ["result.json", "model", "checkpoints", "manifest.csv", "unsent.json", "parent_run_id"]
)
def test_any_file_of_a_run_keeps_another_one_out(file_name, tmp_path, tracking, outputs) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / file_name).write_text("")
    for check in (check_run_folder, check_sweep_folder):
        with pytest.raises(UserError, match=REFUSED):
            check(tmp_path / "run")
    with pytest.raises(UserError, match=REFUSED):
        check_sweep_folder(tmp_path)
    with pytest.raises(UserError, match=REFUSED):  # jobs of one sweep that share a folder
        start_run(tracking, outputs, name="run", folder=tmp_path / "run").__enter__()


def test_an_empty_folder_and_one_with_other_files_are_free(tmp_path) -> None:
    (tmp_path / ".hydra").mkdir()  # a command that was refused leaves these two
    (tmp_path / "run.lock").write_text("")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "data").mkdir()
    for folder in (tmp_path, tmp_path / "data", tmp_path / "none"):
        check_not_running(folder)
        check_run_folder(folder)
        check_sweep_folder(folder)


def test_a_folder_in_which_a_run_has_just_begun_is_taken(tmp_path) -> None:
    lock = run_lock.lock_run_folder(tmp_path, "a run")
    with pytest.raises(UserError, match="a run is at work in this folder"):
        check_not_running(tmp_path)
    lock.release()
    check_not_running(tmp_path)


def test_a_run_goes_on_in_its_own_folder_and_in_no_other(tracking, outputs, tmp_path) -> None:
    with pytest.raises(RuntimeError), start_run(tracking, outputs, name="run", folder=tmp_path / "run") as run:
        raise RuntimeError
    check_run_folder(tmp_path / "run", run_id=run.id)
    with start_run(tracking, outputs, name="run", folder=tmp_path / "run", resume=run.id):
        pass
    with pytest.raises(UserError, match=REFUSED):
        check_run_folder(tmp_path / "run", run_id="b" * 32)


def test_a_folder_with_the_files_of_two_runs_answers_for_neither(tracking, outputs, tmp_path) -> None:
    with start_run(tracking, outputs, name="run", folder=tmp_path / "run") as run:
        (tmp_path / "run" / "result.json").write_text(json.dumps({"run_id": run.id}))
    assert owner_of_folder(tmp_path / "run") == (run.id, tracking.uri)
    (tmp_path / "run" / "result.json").write_text(json.dumps({"run_id": "b" * 32}))
    with pytest.raises(UserError, match=f"result.json is of run {'b' * 32}, run.json of run {run.id}"):
        find_run_of_folder(tmp_path / "run", tracking.uri, outputs)

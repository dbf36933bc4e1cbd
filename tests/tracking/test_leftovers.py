"""What goes is what thaw wrote, of runs that this store knows to be unneeded; everything else stays."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from thaw.common.errors import UserError
from thaw.tracking import run_search
from thaw.tracking.leftovers import Kept, Leftovers, find_leftovers, remove_leftover
from thaw.tracking.mlflow_store import MlflowStore, open_store
from thaw.tracking.sweep_runs import close_sweep, open_sweep
from thaw.tracking.tracked_run import start_run

from .test_run_files import plant

FILES = ("result.json", "manifest.csv", "model/model.keras", "report/report.html", ".hydra/config.yaml")
CHECKPOINT = "checkpoints/stage1-epoch3-step0.npz"


@dataclass
class Place:
    """A store with its outputs, in which runs are planted."""

    tracking: object
    outputs: Path
    client: object

    @property
    def store(self) -> MlflowStore:
        return open_store(self.tracking.uri, self.outputs)

    def run(
        self, name: str, *files: str, status: str = "FINISHED", deleted: bool = False, parent=None, **params
    ) -> Path:
        folder = self.outputs / "runs" / "2026-11-29" / name if parent is None else self.outputs / "sweeps" / "s" / name
        try:
            with start_run(self.tracking, self.outputs, name=name, folder=folder, parent=parent) as run:
                run.log_params({key.replace("_", "."): value for key, value in params.items()})
                if status != "FINISHED":
                    raise {"FAILED": RuntimeError, "KILLED": KeyboardInterrupt}[status]
        except (RuntimeError, KeyboardInterrupt):
            pass
        plant(folder, *(files or FILES))
        (folder / "result.json").write_text(json.dumps({"run_id": run.id}))
        if deleted:
            self.client.delete_run(run.id)
        return folder

    def search(self, older_than_days: float | None = None) -> Leftovers:
        return find_leftovers(self.store, self.outputs, older_than_days)

    def found(self, older_than_days: float | None = None) -> dict[Path, str]:
        return {leftover.folder: leftover.what for leftover in self.search(older_than_days).found}

    def kept(self) -> dict[Path, str]:
        return {kept.folder: kept.why for kept in self.search().kept}


@pytest.fixture
def place(tracking, outputs, client) -> Place:
    return Place(tracking, outputs, client)


def run_id(folder: Path) -> str:
    return json.loads((folder / "run.json").read_text())["run_id"]


def test_a_deleted_runs_folder_goes_and_those_of_other_runs_stay(place) -> None:
    gone, stays = place.run("gone", *FILES, CHECKPOINT, deleted=True), place.run("stays")
    (leftover,) = place.search().found
    assert (leftover.folder, leftover.what, leftover.why) == (gone, "folder", "its run was deleted in MLflow")
    assert {file.relative_to(gone).as_posix() for file in leftover.files} == {
        *FILES,
        CHECKPOINT,
        "run.json",
        "run.lock",
    }
    assert leftover.size == sum(file.stat().st_blocks * 512 for file in leftover.files)
    remove_leftover(leftover, place.outputs)
    assert not gone.exists()
    assert (stays / "model" / "model.keras").exists()
    assert gone.parent.is_dir(), "it holds the other run"
    place.client.delete_run(run_id(stays))
    remove_leftover(place.search().found[0], place.outputs)
    assert list((place.outputs / "runs").iterdir()) == [], "the empty folder of a day goes too"
    assert (place.outputs / "artifacts").is_dir()


def test_a_deleted_runs_folder_stays_while_its_network_is_registered(place) -> None:
    folder = place.run("registered", deleted=True)
    place.client.create_registered_model("flowers")
    place.client.create_model_version("flowers", "file:///nowhere", run_id(folder))
    assert place.kept() == {folder: "its network is registered, as flowers version 1"}
    place.client.delete_model_version("flowers", "1")
    assert place.found() == {folder: "folder"}


def test_the_runs_of_a_deleted_experiment_are_deleted(place) -> None:
    folder = place.run("gone")
    place.client.delete_experiment(place.client.get_experiment_by_name("thaw").experiment_id)
    assert place.found() == {folder: "folder"}


@pytest.mark.parametrize(
    "own", ["notes.txt", "a/b/c.txt", "model/mine.keras", "report/slide.png", "checkpoints/best.npz"]
)
def test_somebodys_own_file_keeps_the_folder_whole(place, own: str) -> None:
    folder = place.run("run", *FILES, own, deleted=True)
    assert place.found() == {}
    assert place.kept() == {folder: f"it holds files that thaw may not have written: {Path(own).name}"}


def test_a_link_in_the_folder_is_somebodys_own_and_a_link_to_a_folder_is_not_followed(place, tmp_path) -> None:
    linked, moved = place.run("linked", deleted=True), place.run("moved", deleted=True)
    (linked / "data").symlink_to(tmp_path)
    moved.rename(tmp_path / "elsewhere")
    moved.symlink_to(tmp_path / "elsewhere")
    assert place.found() == {}
    assert place.kept() == {linked: "it holds files that thaw may not have written: data"}


def test_a_folder_outside_of_outputs_is_found_by_its_runs_tag(place, tmp_path) -> None:
    folder = tmp_path / "mine" / "run"
    with start_run(place.tracking, place.outputs, name="run", folder=folder) as run:
        pass
    place.client.delete_run(run.id)
    (leftover,) = place.search().found
    assert leftover.folder == folder
    remove_leftover(leftover, place.outputs)
    assert not folder.exists()
    assert folder.parent.is_dir(), "which thaw did not make for runs"


def test_folders_of_other_stores_are_not_looked_at(place, tmp_path) -> None:
    """Their runs are unknown here, or a copy of the store has deleted them."""
    folder = place.run("run", deleted=True)
    (folder / "run.json").write_text(json.dumps({"run_id": run_id(folder), "tracking_uri": "http://127.0.0.1:5000"}))
    unknown = place.outputs / "runs" / "unknown"
    plant(unknown, *FILES, "run.lock")
    (unknown / "run.json").write_text(
        json.dumps({"run_id": 32 * "f", "tracking_uri": f"sqlite:///{tmp_path}/other.db"})
    )
    search = place.search()
    assert (search.found, search.kept, search.other_stores) == ([], [], 2)


def test_a_run_that_the_store_does_not_know_stays(place) -> None:
    """`mlflow gc` has removed it, or the store is an older copy, or another server answers at its address."""
    folder = place.run("run", deleted=True)
    unknown = run_id(folder)[::-1]
    (folder / "run.json").write_text(json.dumps({"run_id": unknown, "tracking_uri": place.tracking.uri}))
    (folder / "result.json").write_text(json.dumps({"run_id": unknown}))
    assert place.found() == {}
    assert place.kept()[folder] == "the store does not know its run, which another one may"


def test_what_the_store_did_not_take_yet_stays(place) -> None:
    folder = place.run("run", *FILES, "unsent.json", deleted=True)
    assert place.found() == {}
    assert "unsent.json" in place.kept()[folder]


def test_a_folder_with_files_of_two_runs_stays(place) -> None:
    folder = place.run("run", deleted=True)
    (folder / "result.json").write_text(json.dumps({"run_id": 32 * "0"}))
    assert place.found() == {}
    assert "holds files of two runs" in place.kept()[folder]


def test_a_folder_stays_while_its_run_may_live(place) -> None:
    held, unknown = place.run("held", *FILES, CHECKPOINT), place.run("no lock", deleted=True)
    (unknown / "run.lock").unlink()
    with FileLock(held / "run.lock"):
        assert place.found() == {}
        assert set(place.kept()) == {held, unknown}
        place.client.delete_run(run_id(held))
        assert place.found() == {}
    assert place.found() == {held: "folder"}


@pytest.mark.parametrize("named", ["id", "beginning", "folder", "file"])
def test_a_network_that_another_run_began_from_stays(place, named: str) -> None:
    folder = place.run("base", deleted=True)
    weights = {
        "id": run_id(folder), "beginning": run_id(folder)[:7], "folder": folder, "file": folder / "model/model.keras",
    }[named]  # fmt: skip
    user = place.run("user", backbone_weights=weights)
    assert place.found() == {}
    assert "backbone.weights" in place.kept()[folder]
    place.client.delete_run(run_id(user))
    assert place.found() == {folder: "folder", user: "folder"}


def test_checkpoints_of_a_finished_run_go_and_its_folder_stays(place) -> None:
    folder = place.run("run", *FILES, CHECKPOINT, "checkpoints/stage0-epoch1-step0.npz.tmp", "notes.txt")
    (leftover,) = place.search().found
    assert (leftover.what, leftover.why, len(leftover.files)) == ("checkpoints", "its run has finished", 2)
    remove_leftover(leftover, place.outputs)
    assert not (folder / "checkpoints").exists()
    assert (folder / "notes.txt").exists()
    assert (folder / "model" / "model.keras").exists()
    assert place.found() == {}


def test_somebodys_own_checkpoint_stays(place) -> None:
    folder = place.run("run", CHECKPOINT, "checkpoints/best.npz")
    (leftover,) = place.search().found
    remove_leftover(leftover, place.outputs)
    assert [file.name for file in (folder / "checkpoints").iterdir()] == ["best.npz"]


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_a_stopped_run_keeps_its_checkpoints_until_they_are_old(place, status: str) -> None:
    folder = place.run("run", CHECKPOINT, status=status)
    assert place.found() == {}
    assert place.kept()[folder].startswith(f"its run is {status} and can be resumed from its checkpoints")
    assert place.found(older_than_days=5) == {}
    ten_days_ago = time.time() - 10 * 86_400
    os.utime(folder / CHECKPOINT, (ten_days_ago, ten_days_ago))
    assert place.found() == {}
    assert place.found(older_than_days=11) == {}
    assert place.found(older_than_days=5) == {folder: "checkpoints"}


def test_a_sweeps_folder_goes_with_the_last_of_its_runs(place) -> None:
    sweep = open_sweep(place.tracking, place.outputs, "seed=1,2", place.outputs / "sweeps" / "s")
    first, second = (place.run(str(i), parent=sweep.id) for i in range(2))
    close_sweep(sweep)
    plant(place.outputs / "sweeps" / "s", "parent_run_id", "multirun.yaml", "folds.json")
    for id in (sweep.id, run_id(first)):
        place.client.delete_run(id)
    assert place.found() == {first: "folder"}
    assert "holds folders of its runs that stay" in place.kept()[place.outputs / "sweeps" / "s"]
    place.client.delete_run(run_id(second))
    found = place.search().found
    assert [leftover.folder.name for leftover in found] == ["0", "1", "s"]
    for leftover in found:
        remove_leftover(leftover, place.outputs)
    assert list((place.outputs / "sweeps").iterdir()) == []


def test_evaluations_and_their_like_stay_whatever_became_of_them(place) -> None:
    folder = place.outputs / "evaluations" / "one"
    with start_run(place.tracking, place.outputs, name="run", folder=folder, tags={"thaw.kind": "evaluation"}) as run:
        pass
    place.client.delete_run(run.id)
    search = place.search()
    assert (search.found, search.kept) == ([], [])


def test_what_changes_between_the_search_and_the_removal_stays(place) -> None:
    own, alive = place.run("own", deleted=True), place.run("alive", deleted=True)
    of = {leftover.folder: leftover for leftover in place.search().found}
    plant(own, "notes.txt")
    with pytest.raises(Kept, match=r"notes\.txt"):
        remove_leftover(of[own], place.outputs)
    with FileLock(alive / "run.lock"), pytest.raises(Kept, match="may still be at work"):
        remove_leftover(of[alive], place.outputs)
    assert (own / "model" / "model.keras").exists()
    assert (alive / "model" / "model.keras").exists()


def test_an_interrupted_removal_can_be_done_again(place, monkeypatch) -> None:
    folder = place.run("run", deleted=True)
    (leftover,) = place.search().found
    unlink = Path.unlink

    def full_stop(path: Path, missing_ok: bool = False) -> None:
        if path.name == "result.json":
            raise PermissionError(1, "Operation not permitted", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", full_stop)
    with pytest.raises(PermissionError):
        remove_leftover(leftover, place.outputs)
    monkeypatch.undo()
    (again,) = place.search().found
    remove_leftover(again, place.outputs)
    assert not folder.exists()


def test_a_store_that_does_not_answer_or_does_not_exist_removes_nothing(place, monkeypatch) -> None:
    folder = place.run("run", deleted=True)
    store = place.store

    def no_answer(*_: object, **__: object):
        raise UserError("no answer")

    monkeypatch.setattr(run_search, "iterate_runs", no_answer)
    with pytest.raises(UserError, match="no answer"):
        find_leftovers(store, place.outputs)
    with pytest.raises(UserError, match="there is no store at"):
        run_search.open_existing_store(f"sqlite:///{place.outputs}/none.db", place.outputs)
    assert not (place.outputs / "none.db").exists()
    assert folder.exists()

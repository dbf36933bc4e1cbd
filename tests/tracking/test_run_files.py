"""What thaw wrote in a run's folder is told from what somebody else put there."""

import os
from pathlib import Path

import pytest

from thaw.tracking import run_files

WRITTEN = (
    "run.json", "run.lock", "result.json", "result.json.tmp", "manifest.csv", "resumed_bad_files.csv", "head_alone.npz",
    "parent_run_id", "multirun.yaml", "folds.json", ".hydra/config.yaml", "checkpoints/stage0-epoch1-step0.npz",
    "checkpoints/stage1-epoch12-step3.npz.tmp", "model/model.keras", "model/calibration.json", "model/inference.json",
    "model/model_card.md", "model/frozen_int8.bin",
    "report/report.html", "report/figures.json", "report/confusion.png", "report/gallery-explained_mistakes.png",
    "report/features-before_pca.png", "features/train-0.npy", "features/train-view2-indices.npy",
)  # fmt: skip
OWN = (
    "notes.txt", "train.log", "config.yaml", "run.json.bak", "my result.json", "model/model.h5", "model/b/model.keras",
    "report/slide.png", "report/sub/confusion.png", "checkpoints/best.npz", "features/mine.npy", ".hydra/notes.yaml",
    "other/run.lock", "report/gallery-mine.png", "report/features-mine.png", "model.keras", "résumé.json",
)  # fmt: skip


def plant(folder: Path, *names: str, size: int = 10) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(size * b"x")


@pytest.mark.parametrize("name", WRITTEN)
def test_what_thaw_writes_is_known_by_its_name(name: str) -> None:
    assert run_files.is_written_by_thaw(Path(name))


@pytest.mark.parametrize("name", OWN)
def test_any_other_file_is_somebodys_own(name: str) -> None:
    assert not run_files.is_written_by_thaw(Path(name))


def test_files_are_found_at_any_depth_and_links_are_not_followed(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    plant(folder, *WRITTEN, "a/b/c/mine.txt")
    plant(elsewhere, "stage0-epoch1-step0.npz", "run.json")
    (folder / "model" / "classes.json").symlink_to(elsewhere / "run.json")
    (folder / "more").symlink_to(elsewhere)
    content = run_files.read_folder(folder)
    assert set(content.written) == {folder / name for name in WRITTEN}
    assert set(content.others) == {folder / "a/b/c/mine.txt", folder / "model/classes.json", folder / "more"}
    assert content.job_folders == ()


def test_an_empty_folder_that_thaw_does_not_make_is_somebodys_own(tmp_path: Path) -> None:
    for name in ("model", "checkpoints", "annotations", "report/mine"):
        (tmp_path / name).mkdir(parents=True)
    assert run_files.read_folder(tmp_path).others == (tmp_path / "annotations", tmp_path / "report" / "mine")


def test_a_sweeps_jobs_are_folders_of_their_own(tmp_path: Path) -> None:
    plant(tmp_path, "run.json", "multirun.yaml", "0/run.json", "0/mine.txt", "1/run.json", "1/model/model.keras")
    content = run_files.read_folder(tmp_path)
    assert [file.name for file in content.written] == ["multirun.yaml", "run.json"]
    assert content.others == ()
    assert content.job_folders == (tmp_path / "0", tmp_path / "1")


def test_somebodys_whole_project_is_not_walked_through(tmp_path: Path) -> None:
    plant(tmp_path, *(f"{i}/{i}.txt" for i in range(100)))
    assert 20 <= len(run_files.read_folder(tmp_path).others) < 100


def test_checkpoints_are_those_that_a_run_wrote(tmp_path: Path) -> None:
    plant(
        tmp_path, "checkpoints/stage0-epoch1-step0.npz", "checkpoints/mine.npz", "checkpoints/a/stage0-epoch1-step0.npz"
    )
    assert [file.name for file in run_files.checkpoint_files(tmp_path)] == ["stage0-epoch1-step0.npz"]
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "checkpoints").symlink_to(tmp_path / "checkpoints")
    assert run_files.checkpoint_files(tmp_path / "linked") == ()
    assert run_files.checkpoint_files(tmp_path / "none") == ()


def test_a_file_with_another_name_elsewhere_frees_nothing(tmp_path: Path) -> None:
    """A network in a run's folder may be the file that the store has."""
    plant(tmp_path, "a", "b", size=100_000)
    alone = run_files.disk_usage([tmp_path / "a", tmp_path / "b"])
    assert alone == sum((tmp_path / name).stat().st_blocks * 512 for name in "ab")
    os.link(tmp_path / "a", tmp_path / "c")
    assert run_files.disk_usage([tmp_path / "a", tmp_path / "b"]) == alone / 2
    assert run_files.disk_usage([tmp_path / "a", tmp_path / "b", tmp_path / "c"]) == alone


def test_removal_leaves_what_it_was_not_told_to_remove(tmp_path: Path) -> None:
    plant(tmp_path, *WRITTEN, "report/slide.png")
    content = run_files.read_folder(tmp_path)
    run_files.remove(tmp_path, content.written)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert left == {"report", "report/slide.png"}

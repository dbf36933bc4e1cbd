"""Which files of a run's folder thaw writes, told by their names: all others are somebody's own."""

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CHECKPOINTS = "checkpoints"

# Files that runs, sweeps and reproductions write, relative to the folder. What a store did not take is spooled beside
# them under its artifact's name (config.yaml, ...), which may as well be a file of the user's: it is not among them.
_WRITTEN = (
    r"run\.json|run\.lock|result\.json|unsent\.json|manifest\.csv|(resumed_)?bad_files\.csv",
    r"parent_run_id|multirun\.yaml|folds\.json|head_alone\.npz",
    r"reproduction\.json|data_differences\.csv",
    r"\.hydra/(config|hydra|overrides)\.yaml",
    r"checkpoints/stage\d+-epoch\d+-step\d+\.npz",
    r"model/(model\.keras|(classes|graph|calibration|inference)\.json|config\.yaml|model_card\.md|frozen_int8\.(xml|bin))",
    r"report/(report\.html|(figures|history)\.json)",
    r"report/(per_class|predictions|classes|confusions|calibration|thresholds)\.csv",
    r"report/(curves|confusion|reliability|per-class|roc|precision-recall|freeze-plan|time)\.png",
    r"report/gallery-(mistakes|suspects|uncertain|typical|explained_hits|explained_mistakes|inputs|augmented)\.png",
    r"report/features-(before|after)_(pca|tsne)\.png",
    r"features/(train|val|test)(-view\d+)?-(\d+|indices)\.npy",
)
# `.tmp`: left by a kill in the middle of writing.
_PATTERN = re.compile(rf"(?:{'|'.join(_WRITTEN)})(?:\.tmp)?")
_FOLDERS = (CHECKPOINTS, "model", "report", "features", ".hydra")


_MANY_OTHERS = 20  # a run's folder may be somebody's whole project: that many tell


@dataclass(frozen=True)
class FolderContent:
    """What is in a run's folder, but for what is in the folders of a sweep's jobs, which have a run.json of their own.

    written: files that thaw wrote. others: what else there is, symlinks and empty folders among it, or the first of
    many. job_folders: those of a sweep.
    """

    written: tuple[Path, ...]
    others: tuple[Path, ...]
    job_folders: tuple[Path, ...]


def read_folder(folder: Path) -> FolderContent:
    """Return what is in a run's folder, at any depth; symlinks are not followed.

    Raises:
        OSError: A folder cannot be listed.
    """
    written, others, jobs = list[Path](), list[Path](), list[Path]()
    waiting = [folder]
    while waiting and len(others) < _MANY_OTHERS:
        here = waiting.pop()
        if here != folder and (here / "run.json").is_file():
            jobs.append(here)
            continue
        with os.scandir(here) as scanned:
            entries = list(scanned)
        if not entries and here != folder and here.relative_to(folder).as_posix() not in _FOLDERS:
            others.append(here)
        for entry in entries:
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            elif entry.is_file(follow_symlinks=False) and is_written_by_thaw(path.relative_to(folder)):
                written.append(path)
            else:
                others.append(path)
    return FolderContent(tuple(sorted(written)), tuple(sorted(others)), tuple(sorted(jobs)))


def checkpoint_files(folder: Path) -> tuple[Path, ...]:
    """Return the checkpoints in a run's folder; none when `checkpoints` is a symlink."""
    checkpoints = folder / CHECKPOINTS
    if checkpoints.is_symlink() or not checkpoints.is_dir():
        return ()
    files = (file for file in checkpoints.iterdir() if file.is_file() and not file.is_symlink())
    return tuple(sorted(file for file in files if is_written_by_thaw(file.relative_to(folder))))


def is_written_by_thaw(path: Path) -> bool:
    """Whether a path, relative to a run's folder, is one that thaw writes."""
    return _PATTERN.fullmatch(path.as_posix()) is not None


def disk_usage(files: Iterable[Path]) -> int:
    """Return the bytes that removing the files frees, as `du` counts them.

    A file with more names than are removed frees nothing: a network in a run's folder may be the store's own.
    """
    links: dict[tuple[int, int], tuple[os.stat_result, int]] = {}
    for file in files:
        status = file.lstat()
        _, seen = links.get((status.st_dev, status.st_ino), (status, 0))
        links[status.st_dev, status.st_ino] = status, seen + 1
    return sum(_bytes(status) for status, seen in links.values() if seen >= status.st_nlink)


def remove(folder: Path, files: Iterable[Path]) -> None:
    """Remove files of a run's folder, and the folders that thaw made for them where they are empty then.

    `run.json` goes last: a folder whose removal was interrupted still says whose it is.

    Raises:
        OSError: One cannot be removed.
    """
    for file in sorted(files, key=lambda file: file == folder / "run.json"):
        if stat.S_ISREG(file.lstat().st_mode):
            file.unlink()
    for name in _FOLDERS:
        remove_if_empty(folder / name)


def remove_if_empty(folder: Path) -> bool:
    """Remove a folder with nothing in it, and return whether that was done."""
    if not folder.is_dir() or folder.is_symlink() or any(folder.iterdir()):
        return False
    folder.rmdir()
    return True


def _bytes(status: os.stat_result) -> int:
    blocks = getattr(status, "st_blocks", None)  # of 512 bytes; Windows has none
    return status.st_size if blocks is None else blocks * 512

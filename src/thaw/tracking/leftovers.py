"""Run folders and checkpoints that no run of a store needs any more: found, with the reason, and removed.

What thaw did not write, and what another store or a living run may need, is never among them.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from thaw.common.errors import UserError, joined
from thaw.tracking import folder_owner, model_registry, run_files, run_lock, run_search
from thaw.tracking.evaluation_runs import KIND_TAG
from thaw.tracking.mlflow_store import MlflowStore, sqlite_path
from thaw.tracking.run_lookup import StoredRun
from thaw.tracking.unsent_file import UNSENT_FILE
from thaw.tracking.used_weights import UsedWeights, used_weights

RUN_ROOTS = ("runs", "sweeps", "reproduced")  # folders of `outputs` that hold run folders
_DAY_SECONDS = 86_400.0
_SHOWN_FILES = 3


@dataclass(frozen=True)
class Leftover:
    """What can go. what: `folder` or `checkpoints`. why: one clause. size: in bytes, as `du` counts them."""

    folder: Path
    what: str
    why: str
    files: tuple[Path, ...]
    size: int


@dataclass(frozen=True)
class KeptFolder:
    """A folder of which something could go but for `why`."""

    folder: Path
    why: str


@dataclass(frozen=True)
class Leftovers:
    """The result of a search. other_stores: how many run folders are of other stores, which alone know of them."""

    found: list[Leftover]
    kept: list[KeptFolder]
    other_stores: int


class Kept(Exception):
    """A folder stays; the message says why."""


def find_leftovers(store: MlflowStore, outputs: Path, older_than_days: float | None = None) -> Leftovers:
    """Return what no run of the store needs, below `outputs` and in the folders of this machine that its runs name.

    - The folder of a run that was deleted in MLflow, and that the store still knows.
    - The checkpoints of a finished run; with `older_than_days` also those of failed and killed ones that were last
      written longer ago, which cannot be resumed then.

    A folder stays whole if a file in it may be somebody's own, if its network is registered or `backbone.weights` of a
    run, if its run may be alive, or if its run.json does not name this store.
    """
    runs = {run.id: run for run in run_search.iterate_runs(store, deleted=True)}
    registered = model_registry.registered_runs(store) if any(run.deleted for run in runs.values()) else {}
    search = _Search(store, runs, used_weights(runs.values()), registered, older_than_days)
    found, kept, others = list[Leftover](), list[KeptFolder](), 0
    for folder in _run_folders(outputs, runs.values()):
        owner = run_lock.read_run_file(folder)
        if owner is None:
            continue
        if not _same_store(owner[1], store.uri):
            others += 1
            continue
        try:
            found += search.leftovers_of(folder, owner[0])
        except Kept as reason:
            kept.append(KeptFolder(folder, str(reason)))
        except OSError as error:
            kept.append(KeptFolder(folder, f"it cannot be read: {error.strerror}"))
    return _without_needed_sweeps(Leftovers(found, kept, others))


def remove_leftover(leftover: Leftover, outputs: Path) -> None:
    """Remove a leftover, unless its run began to live or somebody put a file there since it was found.

    Raises:
        Kept: It stays.
        OSError: A file cannot be removed.
    """
    folder = leftover.folder
    lock = run_lock.lock_if_dead(folder)
    if lock is None:
        raise Kept(_ALIVE)
    try:
        if leftover.what == "checkpoints":
            run_files.remove(folder, leftover.files)
            return
        content = run_files.read_folder(folder)
        _check_only_written(content)
        if content.job_folders:
            raise Kept("folders of its runs could not be removed")
        lock_file = Path(lock.lock_file)
        run_files.remove(folder, [file for file in leftover.files if file != lock_file])
    finally:
        lock.release()
    lock_file.unlink(missing_ok=True)
    while run_files.remove_if_empty(folder) and _is_inside_a_root(folder.parent, outputs):
        folder = folder.parent


_ALIVE = "its run may still be at work: its lock is held, or cannot be tried"


@dataclass(frozen=True)
class _Search:
    """What is known of the store while folders are looked at."""

    store: MlflowStore
    runs: Mapping[str, StoredRun]
    used: UsedWeights
    registered: Mapping[str, str]
    older_than_days: float | None

    def leftovers_of(self, folder: Path, run_id: str) -> Iterator[Leftover]:
        """Yield what can go in the folder of a run of this store; raises Kept if something could but for a reason."""
        run = self.runs.get(run_id) or run_search.get_run(self.store, run_id)
        if run is not None and KIND_TAG in run.tags:  # an evaluation: no run needs it, and it is a result
            return
        if run is None or run.deleted:
            yield self._whole_folder(folder, run_id, run)
        elif files := run_files.checkpoint_files(folder):
            yield self._checkpoints(folder, run, files)

    def _whole_folder(self, folder: Path, run_id: str, run: StoredRun | None) -> Leftover:
        if run is None:
            # Removed by `mlflow gc`, or never there: the store may be an older copy, or another server at its address.
            raise Kept("the store does not know its run, which another one may")
        try:
            folder_owner.check_single_run(folder)
        except UserError as error:
            raise Kept(str(error)) from None
        if run_id in self.registered:
            raise Kept(f"its network is registered, as {self.registered[run_id]}")
        if self.used.include(run_id, folder):
            raise Kept("a run began from its network (backbone.weights)")
        content = run_files.read_folder(folder)
        _check_only_written(content)
        if (folder / UNSENT_FILE).exists():
            raise Kept(f"it holds what the store did not take yet ({UNSENT_FILE})")
        _check_dead(folder, run)
        return Leftover(
            folder, "folder", "its run was deleted in MLflow", content.written, run_files.disk_usage(content.written)
        )

    def _checkpoints(self, folder: Path, run: StoredRun, files: tuple[Path, ...]) -> Leftover:
        if run.status == "FINISHED":
            why = "its run has finished"
        elif run.status in ("FAILED", "KILLED"):
            days = (time.time() - max(file.lstat().st_mtime for file in files)) / _DAY_SECONDS
            if self.older_than_days is None or days < self.older_than_days:
                raise Kept(f"its run is {run.status} and can be resumed from its checkpoints, {days:.0f} days old")
            why = f"its run is {run.status}, and was not resumed for {days:.0f} days"
        else:
            raise Kept(f"its run is {run.status} in the store")
        if any(path.is_relative_to(folder / run_files.CHECKPOINTS) for path in self.used.paths):
            raise Kept("a run began from its checkpoints (backbone.weights)")
        _check_dead(folder, run)
        return Leftover(folder, "checkpoints", why, files, run_files.disk_usage(files))


def _run_folders(outputs: Path, runs: Iterable[StoredRun]) -> list[Path]:
    """Return the folders of the roots of `outputs` and of the runs' tags that have a run.json, deepest first."""
    named = (run_lock.local_folder(run.tags) for run in runs)
    folders: dict[Path, Path] = {}
    for folder in (*_walk(outputs), *(folder for folder in named if folder)):
        if not folder.is_symlink() and (folder / run_lock.RUN_FILE).is_file():
            folders.setdefault(folder.resolve(), folder)
    return sorted(folders.values(), key=lambda folder: (-len(folder.parts), folder))


def _walk(outputs: Path) -> Iterator[Path]:
    for root in RUN_ROOTS:
        for here, folders, files in os.walk(outputs / root):
            if run_lock.RUN_FILE in files:
                yield Path(here)
                folders[:] = [name for name in folders if (Path(here) / name / run_lock.RUN_FILE).is_file()]


def _without_needed_sweeps(leftovers: Leftovers) -> Leftovers:
    """Move sweeps whose folder holds a run's folder that stays from the found ones to the kept ones."""
    found, kept = list(leftovers.found), list(leftovers.kept)
    going = {leftover.folder for leftover in found if leftover.what == "folder"}
    for leftover in leftovers.found:  # deepest first
        if leftover.folder in going and not set(run_files.read_folder(leftover.folder).job_folders) <= going:
            going.discard(leftover.folder)
            found.remove(leftover)
            kept.append(KeptFolder(leftover.folder, "it is a sweep's, and holds folders of its runs that stay"))
    return Leftovers(found, kept, leftovers.other_stores)


def _check_only_written(content: run_files.FolderContent) -> None:
    if content.others:
        names = joined(file.name for file in content.others[:_SHOWN_FILES])
        more = len(content.others) - _SHOWN_FILES
        raise Kept(f"it holds files that thaw may not have written: {names}{f' and {more} more' if more > 0 else ''}")


def _check_dead(folder: Path, run: StoredRun | None) -> None:
    """Raise Kept when a run may be at work in a folder, here or on another machine."""
    elsewhere = run is not None and run.status == "RUNNING" and run_lock.local_folder(run.tags) is None
    lock = None if elsewhere else run_lock.lock_if_dead(folder)
    if lock is None:
        raise Kept(_ALIVE)
    lock.release()


def _same_store(uri: str, other: str) -> bool:
    one, two = sqlite_path(uri), sqlite_path(other)
    if one is not None and two is not None:
        return one.resolve() == two.resolve()
    return uri.rstrip("/") == other.rstrip("/")


def _is_inside_a_root(folder: Path, outputs: Path) -> bool:
    return any(folder != outputs / root and folder.is_relative_to(outputs / root) for root in RUN_ROOTS)

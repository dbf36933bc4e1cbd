"""Which networks of runs other runs began from, as `backbone.weights`: their files stay."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from thaw.tracking.orphaned_runs import SWEEP_TAG
from thaw.tracking.run_lock import CWD_TAG, FOLDER_TAG
from thaw.tracking.run_lookup import OVERRIDES_TAG, PARENT_TAG, StoredRun

_KEY = "backbone.weights"
# A value in an override as typed: in quotes, or up to the next space.
_TYPED = re.compile(rf"{re.escape(_KEY)}=('[^']*'|\"[^\"]*\"|\S+)")
_NO_FILES = ("", "imagenet", "none", "None")


@dataclass(frozen=True)
class UsedWeights:
    """What runs began from: ids of runs and sweeps, with the runs of these sweeps, and absolute paths."""

    run_ids: frozenset[str]
    paths: frozenset[Path]

    def include(self, run_id: str, folder: Path) -> bool:
        """Whether a network in the run's folder may be among them, or a folder that holds the run's."""
        if run_id in self.run_ids:
            return True
        names = {folder, _real(folder)}
        return any(path.is_relative_to(name) or name.is_relative_to(path) for path in self.paths for name in names)


def used_weights(runs: Iterable[StoredRun]) -> UsedWeights:
    """Return what the runs that are not deleted began from, and what the networks began from that stay for them.

    Args:
        runs: All runs of a store, deleted ones too: an id may be given by its first characters.
    """
    runs = list(runs)
    users, others = [run for run in runs if not run.deleted], [run for run in runs if run.deleted]
    while True:
        used = _used_by(users, runs)
        stay = [run for run in others if used.include(run.id, Path(run.tags.get(FOLDER_TAG, "/")))]
        if not stay:
            return used
        users, others = users + stay, [run for run in others if run not in stay]


def _used_by(users: Iterable[StoredRun], runs: Iterable[StoredRun]) -> UsedWeights:
    run_ids, paths = set[str](), set[Path]()
    for run in users:
        for value in _values(run):
            if re.fullmatch("[0-9a-f]{6,32}", value):
                run_ids |= {other.id for other in runs if other.id.startswith(value)}
            path = _absolute(value, run.tags.get(CWD_TAG))
            paths |= {path, _real(path)}
    run_ids |= {run.id for run in runs if run.tags.get(PARENT_TAG) in run_ids}  # a sweep stands for its best run
    return UsedWeights(frozenset(run_ids), frozenset(paths))


def _values(run: StoredRun) -> Iterator[str]:
    """Yield what a run was told to begin from: by its config, and by its command if it ended before that was logged."""
    values = [run.params.get(_KEY, "")]
    for tag in (OVERRIDES_TAG, SWEEP_TAG):
        for typed in _TYPED.findall(run.tags.get(tag, "")):
            text = typed.strip("'\"")
            values += [text, *text.split(",")]  # all values of a sweep
    yield from {value for value in values if value not in _NO_FILES}


def _absolute(value: str, working_directory: str | None) -> Path:
    try:
        path = Path(value).expanduser()
    except RuntimeError:  # a home of nobody's
        path = Path(value)
    return Path(os.path.normpath(Path(working_directory or Path.cwd()) / path))


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path

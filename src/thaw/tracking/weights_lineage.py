"""The runs that a network's weights come from, back to published ones: each run's `backbone.weights` names the next."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from thaw.common.errors import UserError
from thaw.tracking import folder_owner, run_lock
from thaw.tracking.run_lookup import StoredRun, best_run, find_run, find_run_of_folder

NETWORK_NAME = "thaw"  # of networks that thaw builds
CONFIG_FILE, MANIFEST_FILE = "config.yaml", "manifest.csv"


@dataclass(frozen=True)
class LineageRun:
    """A run that weights come from.

    manifest: a local file, which does not exist where the record is lost. config: nested dicts, empty where it is lost.
    cwd: relative paths of the config start there. is_head_alone: it left out what it had thawed.
    """

    id: str
    manifest: Path
    config: Mapping[str, Any]
    cwd: Path
    is_head_alone: bool = False

    @property
    def initial_weights(self) -> str | None:
        """What `backbone.weights` was; None where the config is lost."""
        weights = self.config.get("backbone", {}).get("weights")
        return None if weights is None else str(weights)

    @property
    def backbone_trained(self) -> bool:
        """Whether the network has a part of the backbone that was trained in any stage, or that is not known."""
        if self.is_head_alone:
            return False
        if self.config.get("recipe") != "finetune":
            return self.config.get("recipe") != "bottleneck"
        finetune = self.config.get("finetune", {})
        stages = [stage.get("freeze") for stage in finetune.get("stages") or []]
        return any(freeze != "all" for freeze in stages or [finetune.get("freeze")])


@dataclass(frozen=True)
class Lineage:
    """runs: latest first. unknown: what lies behind the last of them and left no record: a file, or a run's id."""

    runs: tuple[LineageRun, ...]
    unknown: str | None


def weights_lineage(weights: str, uri: str, outputs: Path) -> Lineage:
    """Return the runs that `backbone.weights` leads to; there are none for published, random and foreign weights."""
    runs: list[LineageRun] = []
    cwd = Path.cwd()
    while weights not in ("imagenet", "none"):
        run = _find_lineage_run(weights, uri, outputs, cwd)
        if run is None:
            file = (cwd / weights).expanduser()
            foreign = file.is_file() and not _is_thaw_network(file)  # it says nothing about images
            return Lineage(tuple(runs), None if foreign else weights)
        if run.id in {known.id for known in runs}:
            break
        runs.append(run)
        if run.initial_weights is None:
            return Lineage(tuple(runs), run.id)
        weights, cwd = run.initial_weights, run.cwd
    return Lineage(tuple(runs), None)


def _find_lineage_run(weights: str, uri: str, outputs: Path, cwd: Path) -> LineageRun | None:
    """Return the run that `backbone.weights` names by id, folder or model file; a sweep stands for its best run."""
    path = (cwd / weights).expanduser()
    if path.is_file():
        folder = path.parent.parent
        owner = folder_owner.owner_of_folder(folder)
        config = _read_config(path.parent / CONFIG_FILE)
        manifest, head_alone = folder / MANIFEST_FILE, _is_head_alone(folder / "result.json")
        return LineageRun(owner[0], manifest, config, folder, head_alone) if owner else None
    try:
        owner_run = find_run_of_folder(path, uri, outputs) if path.is_dir() else None
        run = best_run(owner_run[0] if owner_run else find_run(uri, outputs, weights), lambda line: None)
    except UserError:
        return None
    run_cwd = Path(run.tags.get(run_lock.CWD_TAG, "."))
    config = _read_config(_artifact(run, CONFIG_FILE))
    return LineageRun(run.id, _manifest(run), config, run_cwd, run.is_head_alone)


def _manifest(run: StoredRun) -> Path:
    """Return the manifest from the store, or else the one in the run's folder."""
    artifact, folder = _artifact(run, MANIFEST_FILE), run_lock.local_folder(run.tags)
    owner = run_lock.read_run_file(folder) if folder else None
    if artifact.is_file() or folder is None or owner is None or owner[0] != run.id:
        return artifact
    return folder / MANIFEST_FILE


def _artifact(run: StoredRun, name: str) -> Path:
    try:
        return run.artifact_path(name)
    except UserError:
        return Path(run.id) / name  # a path that does not exist, as its reader will find


def _is_thaw_network(file: Path) -> bool:
    """Return whether a weights file is a network that a run trained, copied out of the run's folder."""
    try:
        with zipfile.ZipFile(file) as archive:
            return bool(json.loads(archive.read("config.json"))["config"]["name"] == NETWORK_NAME)
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError):
        return False


def _is_head_alone(result: Path) -> bool:
    """Return whether a run's result.json, if it has one, says that it left out what it had thawed."""
    try:
        stages = json.loads(result.read_text(encoding="utf-8"))["stages"]
        return not all(stage.get("kept", True) for stage in stages)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _read_config(file: Path) -> dict[str, Any]:
    try:
        return dict(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError, yaml.YAMLError):
        return {}

"""Leakage check: test and validation images that the run behind `backbone.weights` was trained on."""

import csv
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from thaw import tracking
from thaw.common.console import printable, say
from thaw.common.errors import UserError, joined
from thaw.config.schema import Config
from thaw.data.dataset import Dataset
from thaw.models import saved_model
from thaw.tracking import TrackedRun

NETWORK_NAME = "thaw"  # of networks that thaw builds
WEIGHTS_FROM_TAG = "thaw.weights_from"  # run ids, latest first


@dataclass(frozen=True)
class WeightsSource:
    """A run that weights come from. manifest, config: local files. cwd: its relative paths start there."""

    run_id: str
    manifest: Path
    config: Path
    cwd: Path


@dataclass
class SeenImages:
    """What the runs behind the weights saw: their ids, latest first, and the sha256 of image files.

    trained_on: changed the backbone's weights. head_trained_on: trained only a head, which is not taken over.
    validated_on: selected among weights that changed. unknown_runs: runs and files with no record of their images.
    """

    run_ids: list[str] = field(default_factory=list)
    trained_on: set[str] = field(default_factory=set)
    head_trained_on: set[str] = field(default_factory=set)
    validated_on: set[str] = field(default_factory=set)
    unknown_runs: list[str] = field(default_factory=list)


def check_leakage(config: Config, data: Dataset, tracked: TrackedRun) -> None:
    """Count, print and log the test and validation images that the initial weights were trained on.

    Images are compared by the sha256 of their files: one that was scaled or saved again is not recognized.

    Raises:
        UserError: With `leak=stop`, when there are such images or a run's images are unknown.
    """
    seen = collect_seen_images(config.backbone.weights, config.tracking.uri, Path(config.outputs))
    if not seen.run_ids and not seen.unknown_runs:
        return
    hashes = {split: data.pixels.digests(data.splits.by_name()[split]) for split in ("test", "val")}
    trained = {split: sum(sha256 in seen.trained_on for sha256 in hashes[split]) for split in hashes}
    validated = sum(sha256 in seen.validated_on - seen.trained_on for sha256 in hashes["test"])
    message = _message(seen, hashes, trained, validated)
    tracked.set_tags({WEIGHTS_FROM_TAG: " ".join(seen.run_ids)})
    tracked.log_metrics(
        {"leak/test_images": trained["test"], "leak/val_images": trained["val"], "leak/test_validated": validated}
    )
    if config.leak == "stop" and (any(trained.values()) or seen.unknown_runs):
        raise UserError(
            f"{message}. Figures on such images are too good: split as that run did (the same data, dataset.*, split.* "
            "and seed), take them out, or start from other weights. leak=warn continues all the same"
        )
    warn = any(trained.values()) or validated or seen.unknown_runs
    say(f"warning: {message}. Figures on such images are too good; leak=stop refuses" if warn else f"leak: {message}")


def _message(seen: SeenImages, hashes: dict[str, list[str]], trained: dict[str, int], validated: int) -> str:
    head_trained = {split: sum(sha256 in seen.head_trained_on for sha256 in hashes[split]) for split in hashes}
    only_head = not any(trained.values()) and any(head_trained.values())
    counts = head_trained if only_head else trained
    images = " and ".join(f"{counts[split]:,} of {len(hashes[split]):,} {split} images" for split in hashes)
    first, *more = [run_id[:12] for run_id in seen.run_ids] or ["unknown"]
    runs = f"run {first}" + (f" or those that it started from ({joined(more)})" if more else "")
    message = f"{images} were trained on by {runs}, whose weights this run starts from"
    if only_head:
        message += "; but only by its head, which does not come along: the backbone stayed frozen"
    if validated:
        message += f"; {validated:,} more test images validated it"
    if seen.unknown_runs:
        unknown = joined(map(printable, seen.unknown_runs))
        message += f". What {unknown} trained on is not known: no manifest.csv belongs to it"
    return message


def collect_seen_images(weights: str, uri: str, outputs: Path) -> SeenImages:
    """Return what was seen by the run that `backbone.weights` names, and by the runs that its own weights come from."""
    seen = SeenImages()
    cwd = Path.cwd()
    while weights not in ("imagenet", "none"):
        source = _find_source(weights, uri, outputs, cwd)
        if source is None:
            file = (cwd / weights).expanduser()
            if not file.is_file() or _is_thaw_network(file):  # a foreign file says nothing about images
                seen.unknown_runs.append(weights)
            break
        if source.run_id in seen.run_ids:
            break
        seen.run_ids.append(source.run_id)
        config = _read_config(source.config)
        _add(seen, source, backbone_trained=not _is_backbone_frozen(config))
        initial_weights = config.get("backbone", {}).get("weights")
        if initial_weights is None:
            seen.unknown_runs += [] if source.run_id in seen.unknown_runs else [source.run_id]
            break
        weights, cwd = str(initial_weights), source.cwd
    return seen


def _is_thaw_network(file: Path) -> bool:
    """Return whether a weights file is a network that a run trained, copied out of the run's folder."""
    try:
        with zipfile.ZipFile(file) as archive:
            return bool(json.loads(archive.read("config.json"))["config"]["name"] == NETWORK_NAME)
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError):
        return False


def _add(seen: SeenImages, source: WeightsSource, *, backbone_trained: bool) -> None:
    try:
        with source.manifest.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
            rows = [(row["split"], row["sha256"]) for row in csv.DictReader(lines)]
    except (OSError, KeyError):
        seen.unknown_runs += [source.run_id] if backbone_trained else []
        return
    trained_on = {sha256 for split, sha256 in rows if split == "train"}
    (seen.trained_on if backbone_trained else seen.head_trained_on).update(trained_on)
    if backbone_trained:
        seen.validated_on.update(sha256 for split, sha256 in rows if split == "val")


def _is_backbone_frozen(config: dict[str, Any]) -> bool:
    """Return whether all of the backbone stayed frozen, in all stages."""
    if config.get("recipe") != "finetune":
        return config.get("recipe") == "bottleneck"
    finetune = config.get("finetune", {})
    stages = [stage.get("freeze") for stage in finetune.get("stages") or []]
    return all(freeze == "all" for freeze in stages or [finetune.get("freeze")])


def _find_source(weights: str, uri: str, outputs: Path, cwd: Path) -> WeightsSource | None:
    """Return the run that `backbone.weights` names by id, folder or model file; a sweep stands for its best run."""
    path = (cwd / weights).expanduser()
    if path.is_file():
        folder = path.parent.parent
        owner = tracking.owner_of_folder(folder)
        config = path.parent / saved_model.CONFIG_FILE
        return WeightsSource(owner[0], folder / "manifest.csv", config, folder) if owner else None
    try:
        owner_run = tracking.find_run_of_folder(path, uri, outputs) if path.is_dir() else None
        run = tracking.best_run(
            owner_run[0] if owner_run else tracking.find_run(uri, outputs, weights), lambda line: None
        )
    except UserError:
        return None
    run_cwd = Path(run.tags.get(tracking.CWD_TAG, "."))
    return WeightsSource(run.id, _artifact(run, "manifest.csv"), _artifact(run, "config.yaml"), run_cwd)


def _artifact(run: tracking.StoredRun, name: str) -> Path:
    try:
        return run.artifact_path(name)
    except UserError:
        return Path(run.id) / name  # a path that does not exist, as its reader will find


def _read_config(file: Path) -> dict[str, Any]:
    try:
        return dict(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError, yaml.YAMLError):
        return {}

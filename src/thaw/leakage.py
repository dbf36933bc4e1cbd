"""Test and validation images that earlier runs trained on, where training starts from the weights of a run."""

import csv
import json
import zipfile
from collections.abc import Iterator
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

NETWORK_NAME = "thaw"  # of the networks that `models.network.join` makes
WEIGHTS_FROM_TAG = "thaw.weights_from"  # ids of the runs, the latest first


@dataclass(frozen=True)
class WeightsSource:
    """A run that weights come from. manifest, config: local files; cwd: where its relative paths are meant from."""

    id: str
    manifest: Path
    config: Path
    cwd: Path


@dataclass
class SeenImages:
    """What earlier runs saw: ids, the latest first, and sha256 of files.

    trained: on images that moved the backbone's weights; head: on images that only a head was trained on, which does
    not come along; validated: on images that chose among weights that moved. unknown: runs that do not say.
    """

    run_ids: list[str] = field(default_factory=list)
    trained_on: set[str] = field(default_factory=set)
    head_trained_on: set[str] = field(default_factory=set)
    validated_on: set[str] = field(default_factory=set)
    unknown_runs: list[str] = field(default_factory=list)


def check_leakage(config: Config, data: Dataset, tracked: TrackedRun) -> None:
    """Count this run's images that its starting weights were trained on; say so, and log it.

    Images are compared by the hash of their files: one that was scaled or saved again is not found. Raises UserError
    with leak=stop when there are any, or when nobody knows.
    """
    before = collect_seen_images(config.backbone.weights, config.tracking.uri, Path(config.outputs))
    if not before.run_ids and not before.unknown_runs:
        return
    own = {split: data.pixels.digests(data.splits.by_name()[split]) for split in ("test", "val")}
    trained = {split: sum(digest in before.trained_on for digest in digests) for split, digests in own.items()}
    judged = sum(digest in before.validated_on - before.trained_on for digest in own["test"])
    said = _said(before, own, trained, judged)
    tracked.set_tags({WEIGHTS_FROM_TAG: " ".join(before.run_ids)})
    tracked.log_metrics(
        {"leak/test_images": trained["test"], "leak/val_images": trained["val"], "leak/test_validated": judged}
    )
    if config.leak == "stop" and (any(trained.values()) or before.unknown_runs):
        raise UserError(
            f"{said}. Figures on such images are too good: split as that run did (the same data, dataset.*, split.* "
            "and seed), take them out, or start from other weights. leak=warn goes on all the same"
        )
    warn = any(trained.values()) or judged or before.unknown_runs
    say(f"warning: {said}. Figures on such images are too good; leak=stop refuses" if warn else f"leak: {said}")


def _said(before: SeenImages, own: dict[str, list[str]], trained: dict[str, int], judged: int) -> str:
    head = {split: sum(digest in before.head_trained_on for digest in digests) for split, digests in own.items()}
    frozen = not any(trained.values()) and any(head.values())  # nothing of them is in the weights
    counts = head if frozen else trained
    found = " and ".join(f"{counts[split]:,} of {len(own[split]):,} {split} images" for split in own)
    first, *more = [name[:12] for name in before.run_ids] or ["unknown"]
    runs = f"run {first}" + (f" or those that it started from ({joined(more)})" if more else "")
    said = f"{found} were trained on by {runs}, whose weights this run starts from"
    if frozen:
        said += "; but only by its head, which does not come along: the backbone stayed frozen"
    if judged:
        said += f"; {judged:,} more test images validated it"
    if before.unknown_runs:
        runs = joined(map(printable, before.unknown_runs))
        said += f". What {runs} trained on is not known: no manifest.csv belongs to it"
    return said


def collect_seen_images(weights: str, uri: str, outputs: Path) -> SeenImages:
    """Gather what the run that `backbone.weights` means, and those before it, were trained on."""
    found = SeenImages()
    cwd = Path.cwd()
    while weights not in ("imagenet", "none"):
        source = _source(weights, uri, outputs, cwd)
        if source is None:
            file = (cwd / weights).expanduser()
            if not file.is_file() or _is_thaws(file):  # another file is of no run, and says nothing of images
                found.unknown_runs.append(weights)
            break
        if source.id in found.run_ids:
            break
        found.run_ids.append(source.id)
        config = _config(source)
        _add(found, source, moved=not _frozen(config))
        began = config.get("backbone", {}).get("weights")
        if began is None:  # nobody knows what that run started from
            found.unknown_runs += [] if source.id in found.unknown_runs else [source.id]
            break
        weights, cwd = str(began), source.cwd
    return found


def _is_thaws(file: Path) -> bool:
    """Whether a weights file is a network that a run trained, copied out of its folder."""
    try:
        with zipfile.ZipFile(file) as archive:
            return bool(json.loads(archive.read("config.json"))["config"]["name"] == NETWORK_NAME)
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError):
        return False


def _add(found: SeenImages, source: WeightsSource, *, moved: bool) -> None:
    try:
        rows = list(_rows(source.manifest))
    except (OSError, KeyError):
        found.unknown_runs += [source.id] if moved else []
        return
    trained = {digest for split, digest in rows if split == "train"}
    (found.trained_on if moved else found.head_trained_on).update(trained)
    if moved:
        found.validated_on.update(digest for split, digest in rows if split == "val")


def _frozen(config: dict[str, Any]) -> bool:
    """Whether all of the backbone stayed as it was, in all stages."""
    if config.get("recipe") != "finetune":
        return config.get("recipe") == "bottleneck"
    own = config.get("finetune", {})
    stages = [stage.get("freeze") for stage in own.get("stages") or []]
    return all(freeze == "all" for freeze in stages or [own.get("freeze")])


def _source(weights: str, uri: str, outputs: Path, cwd: Path) -> WeightsSource | None:
    """Find the run that `backbone.weights` means: by id, folder or model's file; of a sweep its best run."""
    place = (cwd / weights).expanduser()
    if place.is_file():
        folder = place.parent.parent
        known = tracking.owner_of_folder(folder)
        return (
            None
            if known is None
            else WeightsSource(known[0], folder / "manifest.csv", place.parent / saved_model.CONFIG_FILE, folder)
        )
    try:
        named = tracking.find_run_of_folder(place, uri, outputs) if place.is_dir() else None
        run = tracking.best_run(named[0] if named else tracking.find_run(uri, outputs, weights), lambda line: None)
    except UserError:
        return None
    return WeightsSource(
        run.id, _artifact(run, "manifest.csv"), _artifact(run, "config.yaml"), Path(run.tags.get(tracking.CWD_TAG, "."))
    )


def _artifact(run: tracking.StoredRun, name: str) -> Path:
    try:
        return run.artifact_path(name)
    except UserError:
        return Path(run.id) / name  # is not there, which the reader says


def _rows(manifest: Path) -> Iterator[tuple[str, str]]:
    with manifest.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["split"]:
                yield row["split"], row["sha256"]


def _config(source: WeightsSource) -> dict[str, Any]:
    try:
        return dict(yaml.safe_load(source.config.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError, yaml.YAMLError):
        return {}

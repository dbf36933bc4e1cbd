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
from thaw.common.errors import UserError, listed
from thaw.config.schema import Config
from thaw.data.dataset import Data
from thaw.models import saved_model
from thaw.tracking import Run

NAME = "thaw"  # of the networks that `models.network.join` makes
TAG = "thaw.weights_from"  # ids of the runs, the latest first


@dataclass(frozen=True)
class Source:
    """A run that weights come from. manifest, config: local files; cwd: where its relative paths are meant from."""

    id: str
    manifest: Path
    config: Path
    cwd: Path


@dataclass
class Earlier:
    """What earlier runs saw: ids, the latest first, and sha256 of files.

    trained: on images that moved the backbone's weights; head: on images that only a head was trained on, which does
    not come along; validated: on images that chose among weights that moved. unknown: runs that do not say.
    """

    ids: list[str] = field(default_factory=list)
    trained: set[str] = field(default_factory=set)
    head: set[str] = field(default_factory=set)
    validated: set[str] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)


def check(config: Config, data: Data, tracked: Run) -> None:
    """Count this run's images that its starting weights were trained on; say so, and log it.

    Images are compared by the hash of their files: one that was scaled or saved again is not found. Raises UserError
    with leak=stop when there are any, or when nobody knows.
    """
    before = earlier(config.backbone.weights, config.tracking.uri, Path(config.outputs))
    if not before.ids and not before.unknown:
        return
    own = {split: data.pixels.digests(data.splits.named()[split]) for split in ("test", "val")}
    trained = {split: sum(digest in before.trained for digest in digests) for split, digests in own.items()}
    judged = sum(digest in before.validated - before.trained for digest in own["test"])
    said = _said(before, own, trained, judged)
    tracked.tags({TAG: " ".join(before.ids)})
    tracked.metrics(
        {"leak/test_images": trained["test"], "leak/val_images": trained["val"], "leak/test_validated": judged}
    )
    if config.leak == "stop" and (any(trained.values()) or before.unknown):
        raise UserError(
            f"{said}. Figures on such images are too good: split as that run did (the same data, dataset.*, split.* "
            "and seed), take them out, or start from other weights. leak=warn goes on all the same"
        )
    warn = any(trained.values()) or judged or before.unknown
    say(f"warning: {said}. Figures on such images are too good; leak=stop refuses" if warn else f"leak: {said}")


def _said(before: Earlier, own: dict[str, list[str]], trained: dict[str, int], judged: int) -> str:
    head = {split: sum(digest in before.head for digest in digests) for split, digests in own.items()}
    frozen = not any(trained.values()) and any(head.values())  # nothing of them is in the weights
    counts = head if frozen else trained
    found = " and ".join(f"{counts[split]:,} of {len(own[split]):,} {split} images" for split in own)
    first, *more = [name[:12] for name in before.ids] or ["unknown"]
    runs = f"run {first}" + (f" or those that it started from ({listed(more)})" if more else "")
    said = f"{found} were trained on by {runs}, whose weights this run starts from"
    if frozen:
        said += "; but only by its head, which does not come along: the backbone stayed frozen"
    if judged:
        said += f"; {judged:,} more test images validated it"
    if before.unknown:
        said += (
            f". What {listed(map(printable, before.unknown))} trained on is not known: no manifest.csv belongs to it"
        )
    return said


def earlier(weights: str, uri: str, outputs: Path) -> Earlier:
    """Gather what the run that `backbone.weights` means, and those before it, were trained on."""
    found = Earlier()
    cwd = Path.cwd()
    while weights not in ("imagenet", "none"):
        source = _source(weights, uri, outputs, cwd)
        if source is None:
            file = (cwd / weights).expanduser()
            if not file.is_file() or _is_thaws(file):  # another file is of no run, and says nothing of images
                found.unknown.append(weights)
            break
        if source.id in found.ids:
            break
        found.ids.append(source.id)
        config = _config(source)
        _add(found, source, moved=not _frozen(config))
        began = config.get("backbone", {}).get("weights")
        if began is None:  # nobody knows what that run started from
            found.unknown += [] if source.id in found.unknown else [source.id]
            break
        weights, cwd = str(began), source.cwd
    return found


def _is_thaws(file: Path) -> bool:
    """Whether a weights file is a network that a run trained, copied out of its folder."""
    try:
        with zipfile.ZipFile(file) as archive:
            return bool(json.loads(archive.read("config.json"))["config"]["name"] == NAME)
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError):
        return False


def _add(found: Earlier, source: Source, *, moved: bool) -> None:
    try:
        rows = list(_rows(source.manifest))
    except (OSError, KeyError):
        found.unknown += [source.id] if moved else []
        return
    trained = {digest for split, digest in rows if split == "train"}
    (found.trained if moved else found.head).update(trained)
    if moved:
        found.validated.update(digest for split, digest in rows if split == "val")


def _frozen(config: dict[str, Any]) -> bool:
    """Whether all of the backbone stayed as it was, in all stages."""
    if config.get("recipe") != "finetune":
        return config.get("recipe") == "bottleneck"
    own = config.get("finetune", {})
    stages = [stage.get("freeze") for stage in own.get("stages") or []]
    return all(freeze == "all" for freeze in stages or [own.get("freeze")])


def _source(weights: str, uri: str, outputs: Path, cwd: Path) -> Source | None:
    """Find the run that `backbone.weights` means: by id, folder or model's file; of a sweep its best run."""
    place = (cwd / weights).expanduser()
    if place.is_file():
        folder = place.parent.parent
        known = tracking.run_of_folder(folder)
        return (
            None
            if known is None
            else Source(known[0], folder / "manifest.csv", place.parent / saved_model.CONFIG, folder)
        )
    try:
        named = tracking.of_folder(place, uri, outputs) if place.is_dir() else None
        run = tracking.best_of(named[0] if named else tracking.find_run(uri, outputs, weights), lambda line: None)
    except UserError:
        return None
    return Source(
        run.id, _artifact(run, "manifest.csv"), _artifact(run, "config.yaml"), Path(run.tags.get(tracking.CWD, "."))
    )


def _artifact(run: tracking.RunInfo, name: str) -> Path:
    try:
        return run.artifact(name)
    except UserError:
        return Path(run.id) / name  # is not there, which the reader says


def _rows(manifest: Path) -> Iterator[tuple[str, str]]:
    with manifest.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["split"]:
                yield row["split"], row["sha256"]


def _config(source: Source) -> dict[str, Any]:
    try:
        return dict(yaml.safe_load(source.config.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError, yaml.YAMLError):
        return {}

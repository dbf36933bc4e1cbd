"""Leakage check: test and validation images that the run behind `backbone.weights` was trained on."""

from dataclasses import dataclass, field
from pathlib import Path

from thaw import tracking
from thaw.common.console import printable, say
from thaw.common.errors import UserError, joined
from thaw.config.schema import Config
from thaw.data import manifest
from thaw.data.dataset import Dataset
from thaw.tracking import LineageRun, TrackedRun

WEIGHTS_FROM_TAG = "thaw.weights_from"  # run ids, latest first


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
    lineage = tracking.weights_lineage(weights, uri, outputs)
    seen = SeenImages(run_ids=[run.id for run in lineage.runs])
    for run in lineage.runs:
        _add(seen, run)
    if lineage.unknown is not None and lineage.unknown not in seen.unknown_runs:
        seen.unknown_runs.append(lineage.unknown)
    return seen


def _add(seen: SeenImages, run: LineageRun) -> None:
    try:
        rows = [(row["split"], row["sha256"]) for row in manifest.read_rows(run.manifest)]
    except (OSError, KeyError):
        seen.unknown_runs += [run.id] if run.backbone_trained else []
        return
    trained_on = {sha256 for split, sha256 in rows if split == "train"}
    (seen.trained_on if run.backbone_trained else seen.head_trained_on).update(trained_on)
    if run.backbone_trained:
        seen.validated_on.update(sha256 for split, sha256 in rows if split == "val")

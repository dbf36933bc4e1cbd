"""What a run's beginning leaves in the store, and what a run that is gone on with must find there."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from thaw import tracking
from thaw.common.console import display_path, say
from thaw.common.errors import UserError
from thaw.config import command_lines, stored_config
from thaw.config.job import Job
from thaw.config.schema import BackboneConfig, Config
from thaw.frozen.engine import EngineChoice
from thaw.models import backbone_table, saved_model
from thaw.tracking import RunNotClosed, TrackedRun
from thaw.training import checkpoint
from thaw.training.checkpoint import CheckpointDir

ENGINE_TAG = "thaw.engine"
FINGERPRINT = "fingerprint"
DATA_SHA256, WEIGHTS_SHA256, GRAPH_SHA256, DEVICE, CUTS = (
    "data_sha256",
    "weights_sha256",
    "graph_sha256",
    "device",
    "cuts",
)


@contextmanager
def resumable_run(tracked: TrackedRun, name: str, config: Config, job: Job) -> Iterator[CheckpointDir]:
    """Config and fingerprint go to the store before the work, so that a crash leaves evidence.

    The block gets the place of the run's checkpoints. If the work is stopped, or fails with a checkpoint, the command
    that goes on is printed.
    """
    _log_beginning(tracked, config, job)
    tracked.flush()
    checkpoints = CheckpointDir(job.folder / checkpoint.DIR_NAME, config.checkpoint.keep, tracked.id)
    try:
        # After that: from its first line on, a run can be gone on with.
        say(f"run {tracked.id} · {name} · {display_path(job.folder)}{' · resumed' if job.resumed_run_id else ''}")
        yield checkpoints
    except BaseException as error:
        if checkpoints.has_checkpoints() or not isinstance(error, Exception):
            say(f"go on: {command_lines.run_command('train', 'resume', tracked.id, job.folder, config.tracking.uri)}")
        raise


@contextmanager
def remove_checkpoints_at_end(config: Config, job: Job) -> Iterator[None]:
    """Remove the checkpoints of a run that has its result, whether or not the store could be told."""
    checkpoints = CheckpointDir(job.folder / checkpoint.DIR_NAME, config.checkpoint.keep, "")
    try:
        yield
    except RunNotClosed:
        checkpoints.clear()
        raise
    checkpoints.clear()


def _log_beginning(tracked: TrackedRun, config: Config, job: Job) -> None:
    found = dataclasses.replace(tracking.collect_fingerprint(job.root), seed=config.seed)
    if job.resumed_run_id and tracking.CONFIG_LOGGED_TAG in tracked.resumed_tags:
        _tell_what_changed(tracked, found.entries())
        return
    tracked.log_params(dict(stored_config.flatten(dataclasses.asdict(config))))
    tracked.log_text(saved_model.config_yaml(config), "config.yaml")
    tracked.log_text("\n".join(job.overrides) + "\n", "overrides.txt")
    tracked.set_tags({f"{FINGERPRINT}.{key}": value for key, value in found.entries().items()})
    if found.diff:
        tracked.log_text(found.diff, "git-diff.txt")


def _tell_what_changed(tracked: TrackedRun, now: Mapping[str, str]) -> None:
    """The fingerprint stays that of the run's beginning; what is another since then is said, and noted."""
    began = {
        key.removeprefix(f"{FINGERPRINT}."): value
        for key, value in tracked.resumed_tags.items()
        if key.startswith(FINGERPRINT)
    }
    changes = [difference.line() for difference in tracking.fingerprint_differences(began, now)]
    if changes:
        say("since the run began, this has changed; it may end with other numbers than without a stop:")
        for line in changes:
            say(f"  {line}")
        tracked.set_tags({"thaw.resumed_with": "; ".join(changes)})


def has_entry(tracked: TrackedRun, entry: str) -> bool:
    """Whether a run that is gone on with has this entry of the fingerprint, and what was logged before it."""
    return f"{FINGERPRINT}.{entry}" in tracked.resumed_tags


def check_unchanged(tracked: TrackedRun, entry: str, sha256: str, what: str) -> None:
    """Raise UserError when a run that is gone on with does not find what it began with; nothing is logged before."""
    began = tracked.resumed_tags.get(f"{FINGERPRINT}.{entry}")
    if began not in (None, sha256):
        raise UserError(
            f"run {tracked.id} cannot go on: {what} changed since it began (sha256 {began[:12]} then, {sha256[:12]} "
            f"now). Bring back what it had, or train anew. What differs: {tracked.command_line('reproduce', 'run')}"
        )


def check_same_graph(recorded: Mapping[str, str], backbone: BackboneConfig) -> None:
    """Raise UserError for a run that an earlier version trained as another network than would be built now.

    It put the weights of files and runs into the graph that Keras builds for random weights, which lacks a layer for
    EfficientNetB0-B7. recorded: the run's tags; weights without a digest of the graph were recorded by such a version.
    """
    earlier = f"{FINGERPRINT}.{WEIGHTS_SHA256}" in recorded and f"{FINGERPRINT}.{GRAPH_SHA256}" not in recorded
    if (
        earlier
        and backbone.weights not in ("imagenet", "none")
        and backbone_table.backbone_spec(backbone.name).graph_depends_on_weights
    ):
        raise UserError(
            f"this run began in a version of thaw that put backbone.weights={backbone.weights} into a graph of "
            f"{backbone.name} that they were not trained in: it lacked a Rescaling layer. Its figures are those of "
            "that network; train anew"
        )


def report_device_change(tracked: TrackedRun, device: str) -> None:
    """Say that a run that is gone on with is computed by another kind of device than it began on."""
    began = tracked.resumed_tags.get(f"{FINGERPRINT}.{DEVICE}")
    if began not in (None, device):
        say(f"note: the run began on the {began} and goes on on the {device}: it may end with other numbers")


def log_entry(tracked: TrackedRun, entry: str, sha256: str) -> None:
    """Add a hash to the fingerprint."""
    tracked.set_tags({f"{FINGERPRINT}.{entry}": sha256})


def stored_cuts(recorded: Mapping[str, str]) -> tuple[int, ...] | None:
    """Return where each stage of a run was cut, as its tags say; None when they do not.

    Room for the cache decides on it, and a cheaper cut rounds differently: what is gone on with or done again is cut
    where it was, whatever room there is now.
    """
    text = recorded.get(f"{FINGERPRINT}.{CUTS}")
    return None if text is None else tuple(map(int, text.split()))


def with_stored_engine(config: Config, recorded: Mapping[str, str]) -> Config:
    """A run that is gone on with, or done again, computes as it did: `auto` is what was chosen then."""
    if ENGINE_TAG not in recorded:
        return config
    return dataclasses.replace(
        config,
        engine=recorded[ENGINE_TAG].split()[0],
        precision=recorded["thaw.precision"],
        frozen_precision=recorded["thaw.frozen_precision"],
    )


def config_sha256(
    config: Config, weights: str = "", cuts: tuple[int, ...] = (), choice: EngineChoice | None = None
) -> str:
    """Return the sha256 of the resolved config, without the keys that change no number.

    Args:
        config: the run's config; `stored_config.RESULT_NEUTRAL_KEYS` are left out of it.
        weights: sha256 of the backbone's weights as they were loaded; replaces the name of a file or of a run.
        cuts: where the stages were cut. `cache.max_gb` and the free disk decide on it, and an earlier cut rounds
            differently.
        choice: what `auto` was resolved to on this machine.
    """
    content = dict(stored_config.flatten(dataclasses.asdict(config)))
    content = {key: value for key, value in content.items() if not stored_config.is_result_neutral(key)}
    if config.backbone.weights not in ("imagenet", "none"):
        content["backbone.weights"] = weights
    content["cuts"] = cuts
    if choice is not None:
        content |= {"engine": choice.engine, "precision": choice.trained, "frozen_precision": choice.frozen}
        content |= {"device": choice.device, "tf32": choice.tf32}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()

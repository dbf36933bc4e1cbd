"""What a run records in the store before its work, and what a resumed run must find there."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from thaw import tracking
from thaw.code_hash import setting_sha256
from thaw.common import environment
from thaw.common.console import display_path, say
from thaw.common.errors import UserError
from thaw.config import command_lines, stored_config
from thaw.config.job import Job, Pruned
from thaw.config.schema import BackboneConfig, Config
from thaw.frozen.engine import EngineChoice
from thaw.models import backbone_table
from thaw.tracking import TrackedRun

ENGINE_TAG, TRAINING_STEP_TAG = "thaw.engine", "thaw.training_step"
# Entries that a run adds to its fingerprint.
DATA_SHA256, WEIGHTS_SHA256, GRAPH_SHA256 = "data_sha256", "weights_sha256", "graph_sha256"
CALIBRATION_SHA256 = "calibration_sha256"  # of a run in int8
DEVICE, CUTS, CHAIN = "device", "cuts", "chain"
DEVICES = "devices"  # how many train, of a run with distribute=mirrored
# Value of CHAIN: a stage's activations are computed from those at the nearest cut that a later stage uses. A run that
# lacks the entry began in a version that computed all activations from the images.
NEAREST = "nearest"


@contextmanager
def resumable_run(tracked: TrackedRun, config: Config, job: Job, has_checkpoints: Callable[[], bool]) -> Iterator[None]:
    """Log config and fingerprint before the block runs, so that a crash leaves evidence.

    If the block is stopped, or fails after a checkpoint, the command that resumes the run is printed.
    """
    _log_config_and_fingerprint(tracked, config, job)
    tracked.flush()
    try:
        # Not before: from its first line on, a run can be resumed.
        resumed = " · resumed" if job.resumed_run_id else ""
        say(f"run {tracked.id} · {tracked.name} · {display_path(job.folder)}{resumed}")
        yield
    except BaseException as error:
        if not isinstance(error, Pruned) and (has_checkpoints() or not isinstance(error, Exception)):
            command = command_lines.run_id_command("train", "resume", tracked.id, job.folder, config.tracking.uri)
            say(f"resume: {command}")
        raise


def _log_config_and_fingerprint(tracked: TrackedRun, config: Config, job: Job) -> None:
    environment.compute_as_recorded(tracking.fingerprint_entries(tracked.resumed_tags))
    fingerprint = dataclasses.replace(tracking.collect_fingerprint(job.root), seed=config.seed)
    if job.resumed_run_id and tracking.CONFIG_LOGGED_TAG in tracked.resumed_tags:
        _report_changes(tracked, fingerprint.entries())
        return
    tracked.log_params(dict(stored_config.flatten(dataclasses.asdict(config))))
    tracked.log_text(stored_config.config_yaml(config), "config.yaml")
    tracked.log_text("\n".join(job.overrides) + "\n", "overrides.txt")
    entries = fingerprint.entries() | ({CHAIN: NEAREST} if job.chained_cuts else {})
    tracked.set_tags({f"{tracking.FINGERPRINT_PREFIX}{key}": value for key, value in entries.items()})
    tracked.set_tags({tracking.SETTING_TAG: setting_sha256(config)})
    if fingerprint.diff:
        tracked.log_text(fingerprint.diff, "git-diff.txt")


def _report_changes(tracked: TrackedRun, now: Mapping[str, str]) -> None:
    """Print and tag what has changed since the run began; the fingerprint stays that of the beginning."""
    original = tracking.fingerprint_entries(tracked.resumed_tags)
    changes = [difference.line() for difference in tracking.fingerprint_differences(original, now)]
    if changes:
        say("since the run began, this has changed; it may end with other numbers than without a stop:")
        for line in changes:
            say(f"  {line}")
        tracked.set_tags({"thaw.resumed_with": "; ".join(changes)})


def has_entry(tracked: TrackedRun, entry: str) -> bool:
    """Return whether a resumed run has this entry of the fingerprint, and so what was logged before it."""
    return entry in tracking.fingerprint_entries(tracked.resumed_tags)


def check_same_hash(tracked: TrackedRun, entry: str, sha256: str, what: str) -> None:
    """Raise UserError when a resumed run has another hash in its fingerprint; `what` names the hashed thing."""
    original = tracking.fingerprint_entries(tracked.resumed_tags).get(entry)
    if original not in (None, sha256):
        raise UserError(
            f"run {tracked.id} cannot be resumed: {what} changed since it began (sha256 {original[:12]} then, "
            f"{sha256[:12]} now). Bring back what it had, or train anew. What differs: "
            f"{tracked.command_line('reproduce', 'run')}"
        )


def check_same_graph(tags: Mapping[str, str], backbone: BackboneConfig) -> None:
    """Raise UserError for a run that an early version trained as another network than would be built now.

    That version put the weights of files and runs into the graph that Keras builds for random weights, which lacks a
    layer for EfficientNetB0-B7. It recorded a hash of the weights and none of the graph.
    """
    entries = tracking.fingerprint_entries(tags)
    early = WEIGHTS_SHA256 in entries and GRAPH_SHA256 not in entries
    from_file = backbone.weights not in ("imagenet", "none")
    if early and from_file and backbone_table.backbone_spec(backbone.name).graph_depends_on_weights:
        raise UserError(
            f"this run began in a version of thaw that put backbone.weights={backbone.weights} into a graph of "
            f"{backbone.name} that they were not trained in: it lacked a Rescaling layer. Its figures are those of "
            "that network; train anew"
        )


def report_device_change(tracked: TrackedRun, device: str, devices: int = 1) -> None:
    """Print a note when a resumed run computes on another kind of device, or on more or fewer, than it began on."""
    original = tracking.fingerprint_entries(tracked.resumed_tags)
    kind, number = original.get(DEVICE), original.get(DEVICES)
    if kind not in (None, device):
        say(f"note: the run began on the {kind} and continues on the {device}: it may end with other numbers")
    elif number not in (None, str(devices)):
        say(f"note: the run began on {number} devices and continues on {devices}: it may end with other numbers")


def log_entry(tracked: TrackedRun, entry: str, value: str) -> None:
    """Add an entry to the fingerprint."""
    tracked.set_tags({f"{tracking.FINGERPRINT_PREFIX}{entry}": value})


def stored_cuts(tags: Mapping[str, str]) -> tuple[int, ...] | None:
    """Return where each stage of a run was cut, from its tags; None when they do not say.

    A run that is resumed or reproduced is cut where it was: a new choice would depend on the room in the cache, and
    another cut rounds differently.
    """
    cuts = tracking.fingerprint_entries(tags).get(CUTS)
    return None if cuts is None else tuple(map(int, cuts.split()))


def has_chained_cuts(tags: Mapping[str, str]) -> bool:
    """Return whether a run computes activations from those at later stages' cuts, from its tags."""
    return tracking.fingerprint_entries(tags).get(CHAIN) == NEAREST


def engine_tags(choice: EngineChoice) -> dict[str, str]:
    """Return the tags that say which engine and precisions a run has."""
    return {
        ENGINE_TAG: f"{choice.engine} {choice.version}",
        "thaw.precision": choice.trained,
        "thaw.frozen_precision": choice.frozen,
        "thaw.evaluated_precision": choice.evaluated,
        TRAINING_STEP_TAG: choice.training_step,
    }


def has_engine(tags: Mapping[str, str], choice: EngineChoice) -> bool:
    """Return whether a run computed with this engine, these precisions and this kind of device, from its tags."""
    same_device = tracking.fingerprint_entries(tags).get(DEVICE) == choice.device
    return same_device and engine_tags(choice).items() <= tags.items()


def with_stored_engine(config: Config, tags: Mapping[str, str]) -> Config:
    """Return the config with what a run chose for `auto`, to resume or reproduce it."""
    if ENGINE_TAG not in tags:
        return config
    return dataclasses.replace(
        config,
        engine=tags[ENGINE_TAG].split()[0],
        precision=tags["thaw.precision"],
        frozen_precision=tags["thaw.frozen_precision"],
        training_step=tags.get(TRAINING_STEP_TAG, "keras"),
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
    content = stored_config.number_keys(config)
    if config.backbone.weights not in ("imagenet", "none"):
        content["backbone.weights"] = weights
    content["cuts"] = cuts
    if config.distribute == "none":
        del content["distribute"]  # the hash of runs that began before there was the key stays
    elif choice is not None:
        content["devices"] = choice.devices
    if choice is not None:
        content |= {"engine": choice.engine, "precision": choice.trained, "frozen_precision": choice.frozen}
        content |= {"device": choice.device, "tf32": choice.tf32, "training_step": choice.training_step}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()

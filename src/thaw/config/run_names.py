"""Names of runs and sweeps in the store: data set, backbone and recipe, then what was set for this one."""

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from thaw.common.console import printable
from thaw.config.schema import Config, DatasetConfig
from thaw.config.stored_config import is_result_neutral

NAME_LENGTH = 120  # of characters: what a wide column of MLflow's page shows
_LAST = ("dataset.", "backbone.image_size", "train.batch_size")  # what runs on the same data often have in common
_DATASET_LENGTH, _VALUE_LENGTH = 32, 32
_IN_BASE = {
    "dataset": "data", "dataset.name": "data", "dataset.path": "data", "backbone": "backbone",
    "backbone.name": "backbone", "recipe": "recipe",
}  # fmt: skip


def dataset_name(dataset: DatasetConfig) -> str:
    """Return the data set's own name: that of its folder or table, or of a built-in one.

    `photos` of `dataset=image_folder dataset.path=/data/photos`, `labels` of `dataset=csv dataset.path=labels.csv`.
    """
    path = Path(os.path.abspath(Path(dataset.path).expanduser())) if dataset.path else Path()  # noqa: PTH100  # `..`
    own = path.name if dataset.name == "image_folder" else path.stem if dataset.name == "csv" else ""
    return printable(own) or dataset.name


def run_name(config: Config, overrides: Iterable[str], first: Collection[str] = ()) -> str:
    """Return a run's name: `clothing-efficientnet_lite0-finetune freeze=block3b`, of at most 120 characters.

    Overrides that change no number, and those that the beginning tells, are left out; no folder is named.

    Args:
        config: As resolved.
        overrides: As typed.
        first: Keys whose values tell this run from its siblings: they stand before the others.
    """
    settings = dict(_settings(overrides))
    order = sorted(settings, key=lambda key: (key not in first, key.startswith(_LAST)))
    return _joined("-".join(_base(config).values()), [settings[key] for key in order if key not in _IN_BASE])


def sweep_name(config: Config, overrides: Iterable[str], swept: Collection[str]) -> str:
    """Return a sweep's name: `sweep clothing-efficientnet_lite0 recipe=bottleneck,finetune seed=0`.

    Args:
        config: Of its first job.
        overrides: As typed, with all values of the keys that are swept.
        swept: These keys.
    """
    settings = dict(_settings(overrides))
    varied = {_IN_BASE[key] for key in swept if key in _IN_BASE}
    base = "-".join(["sweep", *(text for part, text in _base(config).items() if part not in varied)])
    order = [key for key in settings if key in swept]
    order += [key for key in settings if key not in swept and key not in _IN_BASE]
    return _joined(base.replace("-", " ", 1), [settings[key] for key in order])


def _base(config: Config) -> dict[str, str]:
    data = _cut(dataset_name(config.dataset), _DATASET_LENGTH)
    return {"data": data, "backbone": config.backbone.name, "recipe": config.recipe}


def _settings(overrides: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield key and `short_key=value` of each override that can change a number; a later one of a key counts."""
    for override in overrides:
        typed, sign, value = override.partition("=")
        key = typed.lstrip("+~").rpartition("@")[2]  # optimizer@finetune.head_optimizer
        if sign and not key.startswith("hydra.") and not is_result_neutral(key):
            yield key, f"{_short_key(key)}={_cut(_short_value(value), _VALUE_LENGTH)}"


def _short_key(key: str) -> str:
    """Return `learning_rate` of `optimizer.learning_rate`, `head_epochs` of `finetune.head_epochs`."""
    if key.endswith(".name"):
        return key.removesuffix(".name")
    if key == "split.version":  # a version of what?
        return key
    return key.partition(".")[2] or key


def _short_value(value: str) -> str:
    """Return a value without quotes, folders and most of a run's id."""
    parts = [part.strip(" '\"") for part in value.split(",")]
    named = [Path(part).name if "/" in part else part for part in parts]
    return printable(",".join(part[:8] if re.fullmatch("[0-9a-f]{32}", part) else part for part in named))


def _joined(base: str, settings: list[str]) -> str:
    """Return the name with as many settings as fit, and a digest of the others, so that other settings differ."""
    name = " ".join([base, *settings])
    shown = len(settings)
    while len(name) > NAME_LENGTH and shown:
        shown -= 1
        others = hashlib.sha256(" ".join(settings[shown:]).encode("utf-8", "backslashreplace")).hexdigest()
        name = " ".join([base, *settings[:shown], f"…{others[:4]}"])
    return name


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"

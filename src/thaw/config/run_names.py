"""Names of runs and sweeps in the store: the data set, then what differs from other runs, the rest last.

MLflow's page shows the first 25 characters of a name until its column is widened.
"""

import hashlib
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from thaw.common.console import printable
from thaw.config.schema import Config, DatasetConfig
from thaw.config.stored_config import is_result_neutral

NAME_LENGTH = 120  # of characters
_LAST = ("dataset.", "backbone.image_size", "train.batch_size")  # what runs on the same data often have in common
_DATASET_LENGTH, _VALUE_LENGTH = 20, 32
_PARTS = {
    "dataset": "data", "dataset.name": "data", "dataset.path": "data", "backbone": "backbone",
    "backbone.name": "backbone", "recipe": "recipe",
}  # fmt: skip
_DEFAULTS = {"recipe": Config().recipe, "backbone": Config().backbone.name}


def dataset_name(dataset: DatasetConfig) -> str:
    """Return the data set's own name: that of its folder or table, or of a built-in one.

    `photos` of `dataset=image_folder dataset.path=/data/photos`, `labels` of `dataset=csv dataset.path=labels.csv`.
    """
    path = Path(os.path.abspath(Path(dataset.path).expanduser())) if dataset.path else Path()  # noqa: PTH100  # `..`
    own = path.name if dataset.name == "image_folder" else path.stem if dataset.name == "csv" else ""
    return printable(own) or dataset.name


def run_name(config: Config, overrides: Iterable[str], first: Collection[str] = ()) -> str:
    """Return a run's name: `clothing freeze=block3b finetune efficientnet_lite0`, of at most 120 characters.

    Recipe and backbone stand before the settings where they are not the defaults. Overrides that change no number are
    left out, and so are folders.

    Args:
        config: As resolved.
        overrides: As typed.
        first: Keys whose values tell this run from its siblings: they stand before the others.
    """
    names, telling = _names(config), {_PARTS[key] for key in first if key in _PARTS}
    early = [part for part in ("recipe", "backbone") if part in telling or names[part] != _DEFAULTS[part]]
    late = [part for part in ("recipe", "backbone") if part not in early]
    settings = [text for key, text in _settings(overrides, first) if key not in _PARTS]
    return _joined([names[part] for part in ("data", *early)], settings, [names[part] for part in late])


def sweep_name(config: Config, overrides: Iterable[str], swept: Collection[str]) -> str:
    """Return a sweep's name: `sweep clothing recipe=bottleneck,finetune seed=0 efficientnet_lite0`.

    Args:
        config: Of its first job.
        overrides: As typed, with all values of the keys that are swept.
        swept: These keys.
    """
    varied = {_PARTS[key] for key in swept if key in _PARTS}
    names = {part: text for part, text in _names(config).items() if part not in varied}
    data = [names.pop("data")] if "data" in names else []
    settings = [text for key, text in _settings(overrides, swept) if key in swept or key not in _PARTS]
    return _joined(["sweep", *data], settings, list(names.values()))


def _names(config: Config) -> dict[str, str]:
    data = _cut(dataset_name(config.dataset), _DATASET_LENGTH)
    return {"data": data, "recipe": config.recipe, "backbone": config.backbone.name}


def _settings(overrides: Iterable[str], first: Collection[str]) -> list[tuple[str, str]]:
    """Return key and `short_key=value` of each override that can change a number; a later one of a key counts."""
    settings: dict[str, str] = {}
    for override in overrides:
        typed, sign, value = override.partition("=")
        key = typed.lstrip("+~").rpartition("@")[2]  # optimizer@finetune.head_optimizer
        if sign and not key.startswith("hydra.") and not is_result_neutral(key):
            settings[key] = f"{_short_key(key)}={_cut(_short_value(value), _VALUE_LENGTH)}"
    return sorted(settings.items(), key=lambda setting: (setting[0] not in first, setting[0].startswith(_LAST)))


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


def _joined(begin: list[str], settings: list[str], end: list[str]) -> str:
    """Return the name with as many settings as fit, and a digest of the others, so that other settings differ."""
    name = " ".join([*begin, *settings, *end])
    shown = len(settings)
    while len(name) > NAME_LENGTH and shown:
        shown -= 1
        others = hashlib.sha256(" ".join(settings[shown:]).encode("utf-8", "backslashreplace")).hexdigest()
        name = " ".join([*begin, *settings[:shown], f"…{others[:4]}", *end])
    return name


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"

"""A run's stored config, and how the current one differs from it."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from thaw.common.errors import UserError
from thaw.config.schema import Config
from thaw.config.yaml_text import restore_yaml_texts

# Folders, stores, checkpoints, refusals, resuming, sweeps and a budget, which is spent already, change no number. The
# cache's budget does so only by the cuts that it leads to, and those are recorded.
RESULT_NEUTRAL_KEYS = (
    "outputs",
    "tracking",
    "cache.dir",
    "cache.max_gb",
    "checkpoint",
    "leak",
    "budget",
    "report",
    "resume",
    "sweep",
)


# What runs did before there was a key for it, where new runs do something else.
LEGACY_DEFAULTS = {"split.version": 1, "train.val_loss": "objective", "training_step": "keras"}


@dataclass(frozen=True)
class ConfigDifference:
    """A key, its stored and its current value; None where the key does not exist."""

    key: str
    stored: object
    current: object

    def line(self) -> str:
        """Return the difference as one printed line."""
        return f"{self.key}: {self.stored} in the run, {self.current} now"


def config_yaml(config: Config) -> str:
    """Return the resolved config as YAML, as a run stores it."""
    return str(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True))


def parse_stored_config(text: str, where: str) -> Config:
    """Return the config in a run's config.yaml; a key that it lacks gets the value by which runs of its time worked.

    Raises UserError for what this schema does not know; `where` names the file.
    """
    try:
        written = restore_yaml_texts(OmegaConf.create(text), text)
        for key, value in LEGACY_DEFAULTS.items():
            if OmegaConf.select(written, key) is None:
                OmegaConf.update(written, key, value, force_add=True)
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), written))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{where} is no config of this version of thaw: {reason}") from error
    assert isinstance(config, Config)
    return config


def config_differences(stored: Config, current: Config) -> list[ConfigDifference]:
    """Return every key whose value differs, without `RESULT_NEUTRAL_KEYS`."""
    old, new = dict(flatten(dataclasses.asdict(stored))), dict(flatten(dataclasses.asdict(current)))
    return [
        ConfigDifference(key, old.get(key), new.get(key))
        for key in {**old, **new}
        if old.get(key) != new.get(key) and not is_result_neutral(key)
    ]


def is_result_neutral(key: str) -> bool:
    """Whether a dotted key is one of `RESULT_NEUTRAL_KEYS`, or lies in one of them."""
    return any(key == neutral or key.startswith(f"{neutral}.") for neutral in RESULT_NEUTRAL_KEYS)


def number_keys(config: Config) -> dict[str, object]:
    """Return a config as dotted keys, without `RESULT_NEUTRAL_KEYS`."""
    return {key: value for key, value in flatten(dataclasses.asdict(config)) if not is_result_neutral(key)}


def flatten(section: Any, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield a nested config as dotted keys with their values; an empty list is a value."""
    if isinstance(section, Mapping):
        for key, value in section.items():
            yield from flatten(value, f"{prefix}.{key}" if prefix else key)
    elif isinstance(section, list) and section:
        for i, value in enumerate(section):
            yield from flatten(value, f"{prefix}[{i}]")
    else:
        yield prefix, section

"""A run's config as it was stored, and how another one differs from it."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from thaw.common.errors import UserError
from thaw.config.schema import Config
from thaw.config.yaml_text import kept

# Keys that say where things lie, how often is saved, what is refused and gone on from: none changes a number. Of the
# cache's budget the cuts that were chosen by it do, and those are recorded.
PLACES = ("outputs", "tracking", "cache.dir", "cache.max_gb", "checkpoint", "leak", "resume")


# What runs did before there was a key for it, where that is not what new runs do.
UNTIL_THEN = {"split.version": 1, "train.val_loss": "objective"}


@dataclass(frozen=True)
class Difference:
    """A key, its value in the stored config and in the other one; None where it does not exist."""

    key: str
    before: object
    now: object

    def line(self) -> str:
        return f"{self.key}: {self.before} in the run, {self.now} now"


def read(text: str, where: str) -> Config:
    """Return the config in a run's config.yaml; a key that did not exist when it was written is what runs did then.

    Raises UserError for what this schema does not know; `where` names the file.
    """
    try:
        written = kept(OmegaConf.create(text), text)
        for key, value in UNTIL_THEN.items():
            if OmegaConf.select(written, key) is None:
                OmegaConf.update(written, key, value, force_add=True)
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), written))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{where} is no config of this version of thaw: {reason}") from error
    assert isinstance(config, Config)
    return config


def differences(before: Config, now: Config) -> list[Difference]:
    """Every key whose value differs, but those that only say where things lie (`PLACES`)."""
    old, new = dict(flat(dataclasses.asdict(before))), dict(flat(dataclasses.asdict(now)))
    return [
        Difference(key, old.get(key), new.get(key))
        for key in {**old, **new}
        if old.get(key) != new.get(key) and not is_place(key)
    ]


def is_place(key: str) -> bool:
    """Whether a dotted key is one of `PLACES`, or lies in one of them."""
    return any(key == place or key.startswith(f"{place}.") for place in PLACES)


def flat(section: Any, prefix: str = "") -> Iterator[tuple[str, object]]:
    """A nested config as dotted keys, with their values; an empty list is a value."""
    if isinstance(section, Mapping):
        for key, value in section.items():
            yield from flat(value, f"{prefix}.{key}" if prefix else key)
    elif isinstance(section, list) and section:
        for i, value in enumerate(section):
            yield from flat(value, f"{prefix}[{i}]")
    else:
        yield prefix, section

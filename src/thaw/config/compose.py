"""From Hydra's composed config to the schema's dataclasses."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from thaw.config.arguments import empty
from thaw.config.help import keys
from thaw.errors import UserError, did_you_mean


def to_config(cfg: DictConfig, schema: type) -> Any:
    """Turn the composed config into the schema's dataclasses, with `outputs` made absolute.

    Raises UserError for a key that was added (`+key=value`) and is not in the schema, and for a text that is empty,
    wherever it came from: a file, an interpolation.
    """
    known = set(keys(schema))
    for key in _dotted(cfg, ""):
        if key not in known:
            raise UserError(f"{key} is not a key.{did_you_mean(key, known)} See them all with --help")
    check_no_empty(cfg)
    if "outputs" in cfg:
        cfg.outputs = str(Path(str(cfg.outputs)).expanduser().absolute())
    return OmegaConf.to_object(cfg)


def check_no_empty(cfg: DictConfig | ListConfig, prefix: str = "") -> None:
    """Raise UserError for the first text that is empty or blank."""
    parent: Any = cfg
    for key in list(parent) if isinstance(cfg, DictConfig) else range(len(parent)):
        name = f"{prefix}.{key}".removeprefix(".") if isinstance(cfg, DictConfig) else f"{prefix}[{key}]"
        try:
            value = parent[key]
        except OmegaConfBaseException:  # another mistake, which is told where the value is used
            continue
        if isinstance(value, str) and not value.strip():
            raise empty(name)
        if isinstance(value, (DictConfig, ListConfig)):
            check_no_empty(value, name)


def _dotted(cfg: DictConfig, prefix: str) -> Iterator[str]:
    for key in map(str, cfg):
        yield f"{prefix}{key}"
        if OmegaConf.is_dict(cfg._get_node(key)):
            yield from _dotted(cfg[key], f"{prefix}{key}.")

"""From Hydra's composed config to the schema's dataclasses."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from thaw.config.help import keys
from thaw.errors import UserError, did_you_mean


def to_config(cfg: DictConfig, schema: type) -> Any:
    """Turn the composed config into the schema's dataclasses, with `outputs` made absolute.

    Raises UserError for a key that was added (`+key=value`) and is not in the schema.
    """
    known = set(keys(schema))
    for key in _dotted(cfg, ""):
        if key not in known:
            raise UserError(f"{key} is not a key.{did_you_mean(key, known)} See them all with --help")
    if "outputs" in cfg:
        cfg.outputs = str(Path(str(cfg.outputs)).expanduser().absolute())
    return OmegaConf.to_object(cfg)


def _dotted(cfg: DictConfig, prefix: str) -> Iterator[str]:
    for key in map(str, cfg):
        yield f"{prefix}{key}"
        if OmegaConf.is_dict(cfg._get_node(key)):
            yield from _dotted(cfg[key], f"{prefix}{key}.")

"""Keeps texts in YAML files as written: YAML reads `2026_11_27`, `1e5`, `007` and `yes` as numbers and booleans."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader

from thaw.config import schema, tool_schemas
from thaw.config.schema_keys import HYDRA_TEXT_KEYS, TEXT_OR_NUMBER_KEYS, text_keys

_READ_OTHERWISE = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool")}


def keep_yaml_texts() -> None:
    """Make Hydra keep the texts of the files that it loads from now on."""
    Plugins.instance()  # it registers Hydra's own readers, once
    SourcesRegistry.instance().types["file"] = FileConfigSource


def restore_yaml_texts(config: Any, text: str, package: str = "") -> Any:
    """Restore the texts of a config that was read from YAML, in its text keys, and return the config.

    package: the section that the file's keys belong to, dotted.
    """
    for key, value in _scalars(yaml.compose(text, Loader=get_yaml_loader()), ""):
        if f"{package}.{key}".removeprefix(".") in _texts():
            OmegaConf.update(config, key, value)
    return config


class FileConfigSource(file_config_source.FileConfigSource):
    """Hydra's reader of files, by whose name it knows it in the processes that a launcher starts."""

    def load_config(self, config_path: str) -> ConfigResult:
        """Read a file and restore its texts."""
        result = super().load_config(config_path)
        if OmegaConf.is_dict(result.config):
            group = config_path.rpartition("/")[0].replace("/", ".")
            package = result.header.get("package") or "_group_"
            package = package.replace("_global_", "").replace("_group_", group).strip(".")
            file = Path(self.path) / self._normalize_file_name(config_path)
            restore_yaml_texts(result.config, file.read_text(encoding="utf-8"), package)
        return result


@cache
def _texts() -> set[str]:
    return (text_keys(schema.Config) | text_keys(tool_schemas.ExploreConfig) | HYDRA_TEXT_KEYS) - TEXT_OR_NUMBER_KEYS


def _scalars(node: yaml.Node | None, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield dotted key and text of each plain scalar that YAML reads as a number or a boolean."""
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        name = f"{prefix}{key.value}"
        if isinstance(value, yaml.MappingNode):
            yield from _scalars(value, f"{name}.")
        elif isinstance(value, yaml.ScalarNode) and value.style is None and value.tag in _READ_OTHERWISE:
            yield name, value.value

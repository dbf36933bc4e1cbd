"""From Hydra's composed config to the schema's dataclasses."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import wraps
from pathlib import Path
from typing import Any

import hydra
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from thaw.cli.argument_quoting import check_no_empty_arguments, empty_value_error, quote
from thaw.cli.head_choice import choose_head
from thaw.common.errors import UserError, did_you_mean
from thaw.config import checks
from thaw.config.install_paths import conf_dir
from thaw.config.schema import Config
from thaw.config.schema_keys import dotted_keys

_FREE_MAPPINGS = ("sweep.space.", "sweep.objectives.")  # whose own keys are keys of the config, and metrics
_MAX_COMPOSED = 256  # configs that wait for their second use: 32 MB


@contextmanager
def initialized_hydra() -> Iterator[None]:
    """Let `hydra.compose` read thaw's conf/ while the block runs, also within a sweep, for which Hydra is at work."""
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = outer


def compose_config(name: str, schema: type, arguments: list[str]) -> Any:
    """Return the config that `key=value` arguments make, as the schema's dataclasses.

    Args:
        name: of the config: `config` for a run, a tool's name for its schema.
        schema: the dataclass of its keys.
        arguments: as Hydra's grammar takes them, see `arguments.quote_texts`.
    """
    composed = register_schema(name, schema)
    with initialized_hydra():
        return to_config(hydra.compose(composed, arguments), schema)


def register_schema(name: str, schema: type) -> str:
    """Tell Hydra the schema of a command, and return the name of the config to compose: conf/config.yaml of a run.

    A tool whose schema is a run's with keys of its own is composed as a run.
    """
    of_run = issubclass(schema, Config)
    ConfigStore.instance().store(name="schema" if of_run else name, node=schema)
    return "config" if of_run else name


def compose_tool_config(name: str, schema: type, arguments: list[str]) -> Any:
    """Return a tool's config as `compose_config` does, with every value checked against the schema."""
    check_no_empty_arguments(arguments)
    config = compose_config(name, schema, arguments)
    checks.raise_problems(checks.value_problems(config))
    return config


def to_config(cfg: DictConfig, schema: type) -> Any:
    """Turn the composed config into the schema's dataclasses, with `outputs` made absolute.

    Raises:
        UserError: a key was added (`+key=value`) that the schema does not have, or a text is empty, wherever it comes
            from: a file, an interpolation.
    """
    known = set(dotted_keys(schema))
    for key in _dotted(cfg, ""):
        if key not in known and not key.startswith(_FREE_MAPPINGS):
            raise UserError(f"{key} is not a key.{did_you_mean(key, known)} See them all with --help")
    check_no_empty_texts(cfg)
    choose_head(cfg)
    if "outputs" in cfg:
        cfg.outputs = str(Path(str(cfg.outputs)).expanduser().absolute())
    return OmegaConf.to_object(cfg)


@contextmanager
def job_config(config: DictConfig, number: int = 0) -> Iterator[DictConfig]:
    """Yield a sweep's config as one of its jobs gets it: the node `hydra` is gone.

    config: composed with the node `hydra`. number: of the job, what `${hydra:job.num}` is.
    """
    job, previous = deepcopy(config), HydraConfig.instance().cfg
    with open_dict(job):
        job.hydra.job.num, job.hydra.job.id = number, str(number)
        job.hydra.runtime.output_dir = str(Path.cwd())
        HydraConfig.instance().set_config(job)
        del job["hydra"]
    try:
        yield job
    finally:
        HydraConfig.instance().cfg = previous


def compose_once(load: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """Return Hydra's `load_configuration` such that what is composed a second time is a copy of the first.

    Hydra composes every job of a sweep to check it before the first one, and again to run it (65 ms).
    """
    composed: dict[str, DictConfig] = {}

    @wraps(load)
    def load_configuration(loader: object, *args: Any, **kwargs: Any) -> DictConfig:
        request = repr((args, sorted(kwargs.items())))
        if request in composed:
            return composed.pop(request)
        config = load(loader, *args, **kwargs)
        if len(composed) < _MAX_COMPOSED:
            composed[request] = deepcopy(config)  # the caller may change its own
        return config

    return load_configuration


def resolve_hydra_values(overrides: Iterable[str], config: DictConfig) -> list[str]:
    """Return a job's overrides in a form that can be given again: `${hydra:...}` and `${now:...}` become values."""
    resolved = []
    for override in overrides:
        key, _, value = override.partition("=")  # in a sweep Hydra escapes the braces
        key = key.lstrip("+")
        if re.search(r"\$\\?\{(hydra|now)\\?:", value):
            value = OmegaConf.select(config, key)
            if isinstance(value, (str, int, float)):
                override = f"{key}={quote(value) if isinstance(value, str) else value}"
        resolved.append(override)
    return resolved


def check_no_empty_texts(cfg: DictConfig | ListConfig, prefix: str = "") -> None:
    """Raise UserError for the first text that is empty or blank."""
    parent: Any = cfg
    for key in list(parent) if isinstance(cfg, DictConfig) else range(len(parent)):
        name = f"{prefix}.{key}".removeprefix(".") if isinstance(cfg, DictConfig) else f"{prefix}[{key}]"
        try:
            value = parent[key]
        except OmegaConfBaseException:  # another mistake, which is reported where the value is used
            continue
        if isinstance(value, str) and not value.strip():
            raise empty_value_error(name)
        if isinstance(value, (DictConfig, ListConfig)):
            check_no_empty_texts(value, name)


def _dotted(cfg: DictConfig, prefix: str) -> Iterator[str]:
    for key in map(str, cfg):
        yield f"{prefix}{key}"
        if OmegaConf.is_dict(cfg._get_node(key)):
            yield from _dotted(cfg[key], f"{prefix}{key}.")

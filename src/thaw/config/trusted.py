"""A config chooses, and runs nothing: refuses what Hydra would call because a config names it.

Hydra calls any `_target_` among its callbacks, launcher and sweeper, and Python's logging any factory or class of a
handler; a stranger's experiment file could so run what it likes. Hydra refuses a list of known callables. Here it is
the other way round: what thaw and installed plugins registered is called, and nothing else.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from thaw.errors import UserError

# Of the node `hydra`: all that Hydra instantiates or gives to logging.config.dictConfig.
INSTANTIATED = ("callbacks", "launcher", "sweeper", "job_logging", "hydra_logging")
OWN = {
    "thaw.config.cli.SweepParent",  # the one line in conf/config.yaml
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
}
LOGGING = {"logging.StreamHandler", "logging.FileHandler", "colorlog.ColoredFormatter"}
_RERUN = "--experimental-rerun"  # Hydra reads its file with pickle


def check_arguments(arguments: list[str]) -> None:
    """Raise UserError for an argument that names something to call, or a pickle to read."""
    for argument in arguments:
        flag, sign, value = argument.partition("=")
        if len(flag) > 2 and _RERUN.startswith(flag):  # any beginning of the flag is the flag
            raise UserError(f"{argument}: refused, because the file is a pickle, and a pickle can run anything")
        if "_target_" in flag or (sign and re.search(r"_target_['\"\s]*:", value)):
            raise UserError(f"{argument}: refused, because Hydra would call what _target_ names. A config only chooses")


@contextmanager
def nothing_called(arguments: list[str]) -> Iterator[None]:
    """Check Hydra's arguments, and each config that it composes while the block runs, before it acts on it.

    arguments: as Hydra will get them, those of a stored run that is gone on with among them. Raises UserError.

    The one function that all configs pass is Hydra's own; there is no hook before callbacks and logging are made. What
    is checked is what came out, whatever file, argument or interpolation it came from.
    """
    check_arguments(arguments)
    compose = ConfigLoaderImpl.load_configuration

    def checked(*args: Any, **kwargs: Any) -> DictConfig:
        config = compose(*args, **kwargs)
        check(config)
        return config

    ConfigLoaderImpl.load_configuration = checked  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl.load_configuration = compose  # type: ignore[method-assign]


def check(config: DictConfig) -> None:
    """Raise UserError, with the file where it can be found, when the composed config would have something called."""
    for name in INSTANTIATED:
        for key, value in _named(config.hydra, name, f"hydra.{name}"):
            allowed = LOGGING if name.endswith("logging") else OWN
            if value not in allowed and not (allowed is OWN and value in _registered()):
                raise UserError(
                    f"{_where(config, value)}{key}={value} is refused, because Hydra would call it. A config only "
                    "chooses; launchers and sweepers are installed as plugins and chosen by name: hydra/launcher=joblib"
                )
    if config.hydra.job.env_set:
        name = next(iter(config.hydra.job.env_set))
        raise UserError(
            f"{_where(config, str(name))}hydra.job.env_set.{name} is refused: environment variables decide what other "
            f"programs run. Set it in your shell: {name}=VALUE python train.py ..."
        )


def _named(parent: Any, key: Any, dotted: str) -> Iterator[tuple[str, str]]:
    """Each callable that `parent[key]` names, with its place; an interpolation that hides one counts as one."""
    node: Any = parent._get_node(key)
    if node is None or node._is_missing():
        return
    names_one = key in ("_target_", "()") or (key == "class" and "_logging." in dotted)
    if node._is_interpolation():
        if names_one or _hides_more(parent, key):
            yield dotted, str(node._value())
    elif isinstance(node, DictConfig) and not node._is_none():
        children: list[Any] = list(node)
        for child in children:
            yield from _named(node, child, f"{dotted}.{child}")
    elif isinstance(node, ListConfig) and not node._is_none():
        for place in range(len(node)):
            yield from _named(node, place, f"{dotted}[{place}]")
    elif names_one:
        yield dotted, str(node._value())


def _hides_more(parent: Any, key: Any) -> bool:
    """Whether an interpolation stands for more than a text or number, or cannot be known yet."""
    try:
        return isinstance(parent[key], (DictConfig, ListConfig, dict, list))
    except InterpolationToMissingValueError:  # a figure that Hydra sets later, such as the job's folder
        return False
    except OmegaConfBaseException:
        return True


def _registered() -> set[str]:
    """What installed plugins, in Python, registered as their own `_target_`s."""
    found: set[str] = set()

    def collect(content: Any) -> None:
        if isinstance(content, dict):
            found.update(str(value) for key, value in content.items() if key == "_target_")
            for value in content.values():
                collect(value)
        elif OmegaConf.is_config(node := getattr(content, "node", None)):
            collect(OmegaConf.to_container(node, resolve=False))

    collect(ConfigStore.instance().repo.get("hydra", {}))
    return found


def _where(config: DictConfig, text: str) -> str:
    """`FILE: ` of the first config file in which the text stands, if any."""
    for source in config.hydra.runtime.config_sources:
        folder = Path(source.path)
        for file in sorted(folder.rglob("*.yaml")) if source.schema == "file" and folder.is_dir() else []:
            if text in file.read_text(encoding="utf-8", errors="replace"):
                return f"{file}: "
    return ""

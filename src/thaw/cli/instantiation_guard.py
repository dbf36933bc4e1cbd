"""A config chooses and runs nothing: refuses every callable that a config names and Hydra would call.

Hydra calls any `_target_` among its callbacks, launcher and sweeper, and Python's logging any factory or class of a
handler; a stranger's experiment file could run anything that way. Hydra's own guard is a list of refused callables.
This one is a list of allowed ones: what thaw and installed plugins registered is called, nothing else, and files set
only those of its arguments that can do no harm.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException
from yaml import YAMLError

from thaw.cli import logging_config, output_dirs
from thaw.cli.compose import compose_once
from thaw.common.errors import UserError
from thaw.config.command_lines import script_command

# Sections of the node `hydra` that Hydra instantiates or gives to logging.config.dictConfig.
INSTANTIATED = ("callbacks", "launcher", "sweeper", "job_logging", "hydra_logging")
# The callable of each section, with the arguments that a config may set.
THAW_TARGETS = {
    "callbacks.sweep": ("thaw.cli.sweep_callback.SweepCallback", ()),  # as in conf/config.yaml
    "launcher": ("hydra._internal.core_plugins.basic_launcher.BasicLauncher", ()),
    "sweeper": ("hydra_plugins.thaw_sweeper.sweeper.ThawSweeper", ("params",)),
}
# The names of the sweep's callback in earlier versions, which a user's own config may still hold.
_FORMER_CALLBACKS = ("thaw.config.cli.SweepParent", "thaw.cli.main.SweepParent")
LOGGING_CLASSES = {*logging_config.HANDLER_CLASSES, "colorlog.ColoredFormatter"}
_NUMBERS = (int, float, type(None))
_RERUN = "--experimental-rerun"  # Hydra reads its file with pickle


def check_arguments(arguments: Sequence[str]) -> None:
    """Raise UserError for an argument that names something to call, or a pickle to read."""
    for argument in arguments:
        flag, sign, value = argument.partition("=")
        if len(flag) > 2 and _RERUN.startswith(flag):  # any beginning of the flag is the flag
            raise UserError(f"{argument}: refused, because the file is a pickle, and a pickle can run anything")
        if "_target_" in flag or (sign and re.search(r"_target_['\"\s]*:", value)):
            raise UserError(f"{argument}: refused, because Hydra would call what _target_ names. A config only chooses")


@contextmanager
def forbid_instantiation(arguments: list[str]) -> Iterator[None]:
    """Check Hydra's arguments, and each config that Hydra composes while the block runs, before Hydra acts on it.

    It replaces the one function of Hydra that all configs pass, as there is no hook before callbacks and logging are
    made. The composed config is checked, whatever file, argument or interpolation a value comes from.

    Args:
        arguments: as Hydra gets them, with those of a stored run that resumes.

    Raises:
        UserError: something would be called that is not allowed.
    """
    check_arguments(arguments)
    original, compose = ConfigLoaderImpl.load_configuration, compose_once(ConfigLoaderImpl.load_configuration)
    made: set[Path] = set()

    def checked(*args: Any, **kwargs: Any) -> DictConfig:
        config = compose(*args, **kwargs)
        if OmegaConf.select(config, "hydra.callbacks.sweep._target_") in _FORMER_CALLBACKS:
            OmegaConf.update(config, "hydra.callbacks.sweep._target_", THAW_TARGETS["callbacks.sweep"][0])
        check_composed(config, arguments)
        made.update(output_dirs.check_output_dirs(config, arguments, made))
        return config

    ConfigLoaderImpl.load_configuration = checked  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl.load_configuration = original  # type: ignore[method-assign]


def check_composed(config: DictConfig, arguments: Sequence[str] = ()) -> None:
    """Raise UserError, with the file that says it where one does, when the composed config would call something."""
    targets = {f"hydra.{section}._target_": target for section, (target, _) in THAW_TARGETS.items()}
    for name in INSTANTIATED:
        for key, value in _named(config.hydra, name, f"hydra.{name}"):
            if value not in (LOGGING_CLASSES if name.endswith("logging") else {targets.get(key), *_plugins()}):
                raise UserError(
                    f"{_where(config, key, value)}{key}={value} is refused, because Hydra would call it. A config only "
                    "chooses; launchers and sweepers are installed as plugins and chosen by name: hydra/launcher=joblib"
                )
        if name.endswith("logging"):
            _check_logging(config, name)
        else:
            _check_called(config, name, arguments)
    if config.hydra.job.env_set:
        name = next(iter(config.hydra.job.env_set))
        key = f"hydra.job.env_set.{name}"
        raise UserError(
            f"{_where(config, key)}{key} is refused: environment variables decide what other programs run. "
            f"Set it in your shell: {name}=VALUE {script_command('train')} ..."
        )


def _check_logging(config: DictConfig, name: str) -> None:
    node, job = _written(config.hydra, name), str(_written(config.hydra.job, "name"))
    for key, value, reason in logging_config.refused_entries(node, files=name == "job_logging", job=job):
        full_key = f"hydra.{name}{key}"
        where = _where(config, full_key if value is not None else full_key.rpartition(".")[0], value)
        raise UserError(f"{where}{full_key}={value} is refused: {reason}")


def _written(parent: DictConfig, key: str) -> Any:
    node = parent._get_node(key)
    return OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node._value()  # type: ignore


def _check_called(config: DictConfig, name: str, arguments: Sequence[str]) -> None:
    """Refuse arguments of what Hydra calls that a config may not set."""
    content = _written(config.hydra, name)
    for path, section in [(name, content)] if name != "callbacks" else _sections(content):
        target, keys = THAW_TARGETS.get(path, ("", ()))
        if isinstance(section, Mapping) and section.get("_target_") == target:
            for key, value in section.items():
                if key != "_target_" and key not in keys:
                    where = _where(config, f"hydra.{path}.{key}", value)
                    raise UserError(f"{where}hydra.{path}.{key}={value} is refused: {target} has no use for it")
        elif isinstance(section, Mapping):
            _check_plugin(config, section, f"hydra.{path}", arguments)
        else:
            raise UserError(f"{_where(config, f'hydra.{path}')}hydra.{path}={section} is refused: Hydra needs it")
    size = content.get("max_batch_size") if name == "sweeper" else None
    if size is not None and not (type(size) is int and size > 0):
        raise UserError(f"hydra.sweeper.max_batch_size={size} is out of range: it must be at least 1, or null")


def _sections(content: Any) -> list[tuple[str, Any]]:
    sections = content.items() if isinstance(content, Mapping) else ()
    return [(f"callbacks.{key}", section) for key, section in sections]


def _check_plugin(config: DictConfig, section: Mapping[str, Any], dotted: str, arguments: Sequence[str]) -> None:
    """Refuse a plugin's arguments that a file sets: the plugin may run what a text says (a job's set-up commands).

    Numbers, the plugin's defaults and a sweep's `params`, which are checked as every argument is, pass.
    """
    known = _registered()
    for key, value in section.items():
        name = f"{dotted}.{key}"
        if (str(key), str(value)) in known or name == "hydra.sweeper.params":
            continue
        if isinstance(value, Mapping):
            _check_plugin(config, value, name, arguments)
        elif str(key).startswith("_") or not (
            isinstance(value, _NUMBERS) or output_dirs.is_set_by_user(name, arguments)
        ):
            raise UserError(
                f"{_where(config, name, value)}{name}={value} is refused from a file, because a plugin may run what it "
                f"says. Type it: {name}=VALUE"
            )


def _named(parent: Any, key: Any, dotted: str) -> Iterator[tuple[str, str]]:
    """Yield each callable that `parent[key]` names, with its key; an interpolation that hides one counts as one."""
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
        for i in range(len(node)):
            yield from _named(node, i, f"{dotted}[{i}]")
    elif names_one:
        yield dotted, str(node._value())


def _hides_more(parent: Any, key: Any) -> bool:
    """Whether an interpolation stands for more than a text or number, or cannot be resolved yet."""
    try:
        return isinstance(parent[key], (DictConfig, ListConfig, dict, list))
    except InterpolationToMissingValueError:  # a figure that Hydra sets later, such as the job's folder
        return False
    except OmegaConfBaseException:
        return True


def _plugins() -> set[str]:
    """Return the `_target_`s of installed plugins; Hydra registers its own two in the same place."""
    known = {target for target, _ in THAW_TARGETS.values()}
    return {value for key, value in _registered() if key == "_target_"} - known


def _registered() -> set[tuple[str, str]]:
    """Return keys and values that installed plugins registered in Python: their `_target_`s and their defaults."""
    entries: set[tuple[str, str]] = set()

    def collect(content: Any) -> None:
        if isinstance(content, dict):
            entries.update((str(key), str(value)) for key, value in content.items() if not isinstance(value, dict))
            for value in content.values():
                collect(value)
        elif OmegaConf.is_config(node := getattr(content, "node", None)):
            collect(OmegaConf.to_container(node, resolve=False))

    for group in ("callbacks", "launcher", "sweeper"):
        collect(ConfigStore.instance().repo.get("hydra", {}).get(group, {}))
    return entries


def _where(config: DictConfig, key: str, value: object = None) -> str:
    """Return `FILE: ` for the config file of this composition that sets a key, an empty text where none does.

    key: with all sections, `hydra.callbacks.x.a[0]`. value: as it is written; None: any.
    """
    words = re.findall(r"[^.\[\]]+", key)
    for file in _chosen(config):
        try:
            content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        except (OSError, ValueError, YAMLError, OmegaConfBaseException):
            continue
        for start in range(len(words)):  # a file's package is the beginning of its keys
            written = _within(content, words[start:])
            if written is not None and value in (None, written, str(written)):
                return f"{file}: "
    return ""


def _chosen(config: DictConfig) -> Iterator[Path]:
    """Yield the files of this composition: of each choice the first on the search path, the main config last."""
    runtime = config.hydra.runtime
    folders = [
        Path(source.path.removeprefix("file://")) for source in runtime.config_sources if source.schema == "file"
    ]
    names = [(str(group).partition("@")[0], choice) for group, choice in runtime.choices.items()]
    for group, choice in [*names, ("", config.hydra.job.config_name)]:
        for name in choice if isinstance(choice, (list, ListConfig)) else [choice]:
            files = (folder / group / f"{str(name).removesuffix('.yaml')}.yaml" for folder in folders)
            yield from [file for file in files if file.is_file()][:1]


def _within(content: Any, words: Sequence[str]) -> Any:
    for word in words:
        if isinstance(content, Mapping):
            content = content.get(word)
        elif isinstance(content, list) and word.isdecimal() and int(word) < len(content):
            content = content[int(word)]
        else:
            return None
    return content

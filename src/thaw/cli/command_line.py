"""Hydra's flags, anywhere on the command line, and those that are refused."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from thaw.cli.argument_quoting import SEARCH_PATH_KEY, empty_value_error, quote
from thaw.common.errors import UserError
from thaw.config.command_lines import script_command

_MODE = "hydra.mode="
_SEVERAL = {"backbone": "networks", "backbone.image_size": "image_sizes"}  # keys of which a tool takes several values
_WHERE = "An experiment is a file of keys: DIR/experiment/NAME.yaml, run by --config-dir=DIR experiment=NAME"


@dataclass(frozen=True)
class CommandLine:
    """Hydra's flags, and the `key=value` arguments."""

    flags: list[str]
    arguments: list[str]
    is_sweep: bool

    def to_argv(self) -> list[str]:
        """Return the flags, then the arguments, as Hydra takes them."""
        return [*self.flags, *self.arguments]


def parse_command_line(given: list[str]) -> CommandLine:
    """Part flags from `key=value`, and raise UserError for what is neither.

    `--config-dir=DIR` becomes the key `hydra.searchpath`, which is stored with a run and restored when it resumes.
    """
    parser = get_args_parser()
    parser.error = _error  # type: ignore[method-assign]
    known = parser.parse_intermixed_args(given)
    if known.config_name is not None or known.config_path is not None:
        raise UserError(f"--config-name and --config-path are refused: thaw has one config, conf/config.yaml. {_WHERE}")
    modes = [a.removeprefix(_MODE) for a in known.overrides if a.startswith(_MODE)]
    sweep = known.multirun or (not known.run and modes[-1:] == ["MULTIRUN"])
    flags = {"--multirun": sweep, "--run": known.run, "--resolve": known.resolve, "--hydra-help": known.hydra_help,
             "--shell-completion": known.shell_completion}  # fmt: skip
    values = {"--cfg": known.cfg, "--package": known.package, "--info": known.info,
              "--experimental-rerun": known.experimental_rerun}  # fmt: skip
    arguments = [a for a in known.overrides if a not in (f"{_MODE}MULTIRUN", f"{_MODE}RUN")]
    if not known.shell_completion:
        for argument in arguments:
            check_argument(argument)
    if known.config_dir is not None:
        arguments.append(_search_path(known.config_dir))
    if known.help:
        return CommandLine(["--help"], arguments, sweep)
    hydra_args = [flag for flag, on in flags.items() if on]
    hydra_args += [f"{flag}={value}" for flag, value in values.items() if value is not None]
    return CommandLine(hydra_args, arguments, sweep)


def parse_tool_arguments(given: Sequence[str], tool: str) -> list[str]:
    """Return a tool's `key=value` arguments. `--config-dir=DIR` becomes a key; every other flag is a UserError."""
    arguments, rest = [], iter(given)
    for argument in rest:
        flag, sign, folder = argument.partition("=")
        if flag in ("--config-dir", "-cd"):
            arguments.append(_search_path(folder if sign else next(rest, "")))
        elif argument.startswith("-"):
            raise UserError(f"{argument} is not understood: every argument is key=value. {script_command(tool)} --help")
        else:
            check_argument(argument)
            arguments.append(argument)
    return arguments


def with_several_networks(arguments: list[str], schema: type) -> list[str]:
    """Return arguments as `several_networks` does for a tool whose schema has these keys, else as they are."""
    return several_networks(arguments) if "networks" in (field.name for field in fields(schema)) else arguments


def several_networks(arguments: Sequence[str]) -> list[str]:
    """Return arguments with the first of `backbone=a,b` and `backbone.image_size=a,b`, and all in keys of their own."""
    result = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        values = [each.strip() for each in value.split(",")]
        if key in _SEVERAL and len(values) > 1:
            if "" in values:
                raise UserError(
                    f"{argument} has an empty value between its commas: leave out the comma, or give another"
                )
            result += [f"{key}={values[0]}", f"{_SEVERAL[key]}=[{','.join(values)}]"]
        else:
            result.append(argument)
    return result


def _search_path(folder: str) -> str:
    return f"{SEARCH_PATH_KEY}=[{quote(f'file://{_folder(folder)}')}]"


def _error(message: str) -> NoReturn:
    raise UserError(f"{message}. See all flags: {script_command('train')} --hydra-help")


def _folder(given: str) -> Path:
    if not given.strip():
        raise empty_value_error("--config-dir")
    folder = Path(given).expanduser().absolute()
    if not folder.is_dir():
        raise UserError(f"--config-dir={given} is no folder. {_WHERE}")
    return folder


def check_argument(argument: str) -> None:
    """Raise UserError for an argument that is not `key=value`, and for one that removes a key (`~key`)."""
    key = argument.partition("=")[0]
    if not argument.strip():
        raise UserError("an argument is empty. Is a shell variable unset? Every argument is key=value")
    if re.search(r"^\s|\s$", key) or key in ("", "+", "++"):
        raise UserError(f"{argument} is not understood: write key=value, without spaces around =")
    if argument.startswith("~"):
        raise UserError(f"{argument} is refused: a run needs every key. For its default, leave {key[1:]} out")
    if "=" not in argument:
        raise UserError(f"{argument} is not understood: every argument is key=value, as in experiment=quickstart")

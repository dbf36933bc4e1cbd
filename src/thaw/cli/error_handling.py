"""One clear message for a user's mistake: what Hydra and OmegaConf refuse, and what to do about it."""

import errno
import os
import re
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from thaw.cli.argument_quoting import SEARCH_PATH_KEY, empty_value_error, quote_texts
from thaw.cli.command_line import with_several_networks
from thaw.cli.compose import compose_config
from thaw.common.console import escape_controls
from thaw.common.errors import UserError, did_you_mean, joined
from thaw.config import checks
from thaw.config.install_paths import conf_dir
from thaw.config.job import Terminated
from thaw.config.schema_keys import dotted_keys, section_types

# Launchers whose packages are extras of thaw's.
_EXTRAS = {"joblib": "joblib", "ray": "ray", "submitit_local": "slurm", "submitit_slurm": "slurm"}
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def exit_with_one_error(schema: type, name: str = "config") -> Iterator[None]:
    """Print a user's mistakes as one message and exit with 1 (130 after Ctrl-C); a defect keeps its traceback.

    name: of the config with this schema.
    """
    try:
        with hydra_errors_explained(schema):
            yield
    except UserError as error:
        if isinstance(error.__cause__, HydraException | OmegaConfBaseException):
            error = _with_other_mistakes(str(error), schema, name)
        sys.exit(f"error: {escape_controls(str(error))}")
    except OSError as error:
        if error.errno in _NO_ROOM:  # libraries often do not say where
            where = (
                error.filename
                or f"under outputs={os.environ['THAW_OUTPUTS']}, or where cache.dir, output or the printed list lie"
            )
            sys.exit(f"error: {where}: {os.strerror(error.errno).lower()}. Make room, then start again")
        if error.filename is None:
            raise
        sys.exit(f"error: {error.filename}: {(error.strerror or str(error)).lower()}")
    except KeyboardInterrupt:
        ignore_signals()
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Terminated:
        ignore_signals()
        raise


@contextmanager
def hydra_errors_explained(schema: type) -> Iterator[None]:
    """Raise what Hydra finds wrong as a UserError whose one message says what to do."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain_hydra_error(error, schema)) from error


def _with_other_mistakes(first: str, schema: type, name: str) -> UserError:
    """Return the error with what is wrong in the other arguments: Hydra stops at the first, so each is tried alone.

    Not with flags: the values of a sweep are checked elsewhere, and choices of the user's own need their config folder.
    """
    problems, arguments = [first], sys.argv[1:]
    if not any(argument.startswith(("-", SEARCH_PATH_KEY)) for argument in arguments):
        for argument in quote_texts(with_several_networks(arguments, schema), schema, sweeps=False):
            GlobalHydra.instance().clear()
            with suppress(UserError):  # of the whole config, or found above
                try:
                    problems += checks.value_problems(compose_config(name, schema, [argument]))
                except (HydraException, OmegaConfBaseException) as error:
                    problems.append(explain_hydra_error(error, schema))
    try:
        checks.raise_problems(problems)
    except UserError as error:
        return error
    raise AssertionError("there is one problem at least")


def ignore_signals() -> None:
    """Ignore Ctrl-C and SIGTERM while the process ends: they would break its last lines with a traceback."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _missing_plugin(group: str, choice: str) -> str:
    kind = group.removeprefix("hydra/")
    if kind == "launcher" and choice in _EXTRAS:
        return (
            f"{group}={choice} is not installed: it is in thaw's extra {_EXTRAS[choice]}. {_install(_EXTRAS[choice])}"
        )
    known = f", or one of thaw's: {joined(sorted(_EXTRAS))}" if kind == "launcher" else ""
    return f"{group}={choice} is not installed: a {kind} is a plugin of Hydra, such as hydra-{choice}-{kind}{known}"


def _install(extra: str) -> str:
    return f"Install it with pip install 'thaw[{extra}]', in a checkout with pip install '.[{extra}]'"


def explain_hydra_error(error: Exception, schema: type) -> str:
    """Return in one sentence what Hydra refuses: the key, what is allowed, the nearest match."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        options = sorted(error.options or [])
        if group in ("hydra/launcher", "hydra/sweeper"):
            return _missing_plugin(group, choice)
        return f"{group}={choice} is not a choice.{did_you_mean(choice, options)} Choose one of: {joined(options)}"
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override} cannot be read: {str(error).splitlines()[-1]}. Quote special characters: key='a value'"
        )
    cause = omegaconf_cause(error)
    key = getattr(cause, "full_key", None)
    text = str(error).strip() or str(cause)
    experiment = re.match(r"In '(experiment/[^']*)'", text)
    if experiment and ("Key 'experiment' not in" in text or "@experiment." in text):
        return (
            f"{experiment[1]}.yaml lacks its first line: # @package _global_. Without it its keys are no keys of a run"
        )
    if ambiguous := re.match(r"Ambiguous value for argument '(.*)'", text):
        key, _, value = ambiguous[1].partition("=")
        quoted = f"\"{key}='{value}'\""
        return f"{ambiguous[1]} is several values: -m trains with each. A text that has a comma is quoted: {quoted}"
    refused = re.search(r"Could not (?:override|append to|delete)[^']*'([^']+)'", text)
    if refused and refused[1] not in set(dotted_keys(schema)):
        return _unknown_key(refused[1], schema)
    message = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
    if remedy := explain_with_remedy(message, key, sys.argv[1:]):
        return remedy
    if blank := re.search(r"Value '\s*' ", message):
        return str(empty_value_error(refused[1] if refused else key or blank[0]))
    if section := re.match(r"Merge error: \w+ is not a subclass of (\w+)\. value: (.*)", message):
        names = [name for name, type_ in section_types(schema) if type_.__name__ == section[1]]
        return f"{' or '.join(names)}={section[2]!r} is a text where a section is expected: set its keys"
    if refused:
        return f"{refused[1]}: {message}"
    missing = re.match(r"Key '([^']+)' (?:is )?not in", message)
    if missing and key not in set(dotted_keys(schema)):
        return _unknown_key(key or missing[1], schema)
    return f"{key}: {message}" if key else message


def _unknown_key(key: str, schema: type) -> str:
    name = key.split("@")[0]
    known = [*dotted_keys(schema), *(folder.name for folder in conf_dir().iterdir() if folder.is_dir())]
    section = name.rpartition(".")[0]
    siblings = [k for k in known if k.rpartition(".")[0] == section] if section else []
    near = did_you_mean(name, known)
    there = f" Keys of {section}: {joined(k.rpartition('.')[2] for k in siblings)}." if siblings else ""
    return f"{key} is not a key.{near}{there} See them all with --help"


def omegaconf_cause(error: BaseException) -> BaseException:
    """Return OmegaConf's error, which names the key, out of Hydra's that wraps it."""
    link: BaseException | None = error
    while link is not None and not isinstance(link, OmegaConfBaseException):
        link = link.__cause__ or link.__context__
    return link or error


def explain_with_remedy(message: str, key: str | None, arguments: Iterable[str]) -> str | None:
    """Return an error's text with what to do, None for a message without a known remedy.

    message: its first line. key: what it is about. arguments: the command line.
    """
    if number := re.search(r"interpolation '(\$\{hydra:job\.(?:num|id)\})'.*'None'", message):
        return f"{key}={number[1]}: only the runs of a sweep have a number. Add -m, or give {key} a value"
    if twice := re.match(r"Multiple values for (\S+)\. To override", message):
        group = twice[1]
        for argument in arguments:  # without one it is a file's defaults list, of which the message is right
            added, _, choice = argument.partition("=")
            if added.lstrip("+") in (group, group.rpartition("@")[2]) and added.startswith("+"):
                name = added.lstrip("+").rpartition("@")[2]
                return f"+{name}={choice}: {name} has a choice already, and + adds another. Write {name}={choice}"
    if several := re.match(r"Cannot convert 'list' to string: '(\[.*\])'", message):
        value = several[1].replace("'", "").replace(", ", ",")
        return f"{key}={value} is a list, and {key} takes one value here"
    if field := re.match(r"field '([^']+)' is not Optional", message):
        return f"{key or field[1]}=null: this key needs a value. Leave it out for its default"
    return None

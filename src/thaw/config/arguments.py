"""Arguments as Hydra's grammar takes them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, QuotedString

from thaw.errors import UserError

# Keys whose values are paths: a space or a bracket in them must not be read as Hydra's grammar.
PATH_KEYS = (
    "dataset.path", "backbone.weights", "images", "model", "cache.dir", "outputs", "output", "tracking.uri",
    "tracking_uri", "space", "resume", "run",
)  # fmt: skip


SEARCH_PATH = "hydra.searchpath"


def folder_of_choices(arguments: list[str]) -> list[str]:
    """Put `--config-dir=DIR` as a key, which is checked, stored and taken up again as all keys are."""
    result, rest = [], iter(arguments)
    for argument in rest:
        flag, sign, value = argument.partition("=")
        if flag in ("--config-dir", "-cd"):
            value = value if sign else next(rest, "")
            if not value.strip():
                raise empty(flag)
            folder = Path(value).expanduser().absolute()
            argument = f"{SEARCH_PATH}=[{quote(f'file://{folder}')}]"
        result.append(argument)
    return result


def quoted(arguments: list[str], sweeps: bool = True) -> list[str]:
    """Quote values of path keys, so that Hydra's grammar takes nothing in them for its own: `photos (1)`, `2024_01`.

    A comma is a sweep unless a path of that name exists, or the command has no sweeps. Lists, Hydra's sweep functions,
    interpolations, null and what is quoted already stay as they are. `~` is the home folder, as a shell has it.
    """
    result = []
    for argument in arguments:
        key, sign, value = argument.partition("=")
        if key == "finetune.head_optimizer":  # a choice in a place of its own: Hydra's name for it is optimizer@PLACE
            argument = f"optimizer@{argument}"
        if (
            sign
            and key in PATH_KEYS
            and value != "null"
            and not re.match(r"""['"]|\[.*\]$|\$\{|(choice|range|glob)\(""", value)
        ):
            whole = not sweeps or "," not in value or Path(value).expanduser().exists()
            parts = [value] if whole else value.split(",")
            argument = f"{key}={','.join(quote(part) for part in parts)}" if value else argument
        result.append(argument)
    return result


def empty(key: str) -> UserError:
    """The error for a key, flag or variable whose value is empty: none has a meaning for that."""
    key = key.rpartition("@")[2]  # of optimizer@PLACE
    return UserError(f"{key}= is empty. Is a shell variable unset? Give {key} a value, or leave it out")


def check_no_empty(arguments: list[str]) -> None:
    """Raise UserError for the first `key=` without a value, and for an empty entry of its list, dict or sweep."""
    for argument in arguments:
        key, sign, value = argument.partition("=")
        if sign and not key.startswith("-") and not value.strip():
            raise empty(key.lstrip("+~").strip())
    given = [a for a in arguments if "=" in a and not a.startswith("-")]
    for override in OverridesParser.create().parse_overrides(given):
        if any(not text.strip() for text in _texts(override._value)):
            raise empty(override.package or override.key_or_group)


def _texts(value: Any) -> Iterator[str]:
    """Every text in a parsed value."""
    if isinstance(value, QuotedString):
        yield value.text
    elif isinstance(value, str):
        yield value
    elif isinstance(value, ChoiceSweep):
        yield from _texts(value.list)
    elif isinstance(value, list | dict):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _texts(entry)


def quote(value: str) -> str:
    """Return a value in quotes, so that nothing in it is grammar."""
    if value.startswith("~"):
        value = str(Path(value).expanduser())
    escaped = re.sub(r"(\\*)'", lambda m: 2 * m[1] + "\\'", value)  # Hydra unescapes backslashes before a quote only
    escaped += re.search(r"\\*$", escaped)[0]  # type: ignore[index]
    return f"'{escaped}'"

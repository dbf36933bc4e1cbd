"""Quotes arguments for Hydra's grammar, and refuses empty ones."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, QuotedString

from thaw.common.errors import UserError
from thaw.config.schema_keys import HYDRA_TEXT_KEYS, TEXT_OR_NUMBER_KEYS, section_types, text_keys

# Texts that may be paths: `~` is the home folder, and a comma may be part of a name.
PATH_KEYS = {
    "dataset.path", "backbone.weights", "images", "model", "cache.dir", "outputs", "output", "tracking.uri",
    "tracking_uri", "space", "resume", "run", "runs", "hydra.run.dir", "hydra.sweep.dir",
}  # fmt: skip
SEARCH_PATH_KEY = "hydra.searchpath"
SPACE_KEY = "sweep.space"
_INTERVAL = re.compile(r"(log|uniform)\(([^()]*)\)")  # as in `sweep.space`; Hydra's grammar lacks both


_PLAIN = r"(?!(?:true|false|null|inf|nan)$)[a-z_/][\w./-]*"
_GRAMMAR = r"(?:range|interval|glob|shuffle|sort|tag)\(.*\)|\{.*\}|\$\{[^}]*\}|(['\"]).*\1"
_ENTRY = re.compile(r"""(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\[[^]]*\]|\{[^}]*\}|[^,])+|(?<=,)(?=,|$)|^(?=,)""")


def quote_texts(arguments: list[str], schema: type, sweeps: bool = True) -> list[str]:
    """Quote texts, so that Hydra's grammar reads none of their characters: `photos (1)`, `2026_11_27`, `1e5`.

    Texts are the values of the schema's text keys and of choices, and the entries of their lists and sweeps. A comma is
    a sweep unless a path of that name exists, or the command has no sweeps. Other sweep functions, dicts,
    interpolations, null and quoted values stay as they are. `~` becomes the home folder, as in a shell.
    """
    choices = {name for name, _ in section_types(schema)} | {"experiment"}
    quoted_keys = (text_keys(schema) | choices | HYDRA_TEXT_KEYS) - TEXT_OR_NUMBER_KEYS
    result = []
    for argument in arguments:
        key, sign, value = argument.partition("=")
        name = key.lstrip("+")
        if sign and name == SPACE_KEY and value.startswith("{"):
            value = quote(value)  # it has functions that Hydra's grammar lacks, see `sweeps.space`
        elif sign and sweeps and (drawn := _INTERVAL.fullmatch(value)):
            value = f"tag(log,interval({drawn[2]}))" if drawn[1] == "log" else f"interval({drawn[2]})"
        elif sign and name in quoted_keys:
            value = _text(value, name in PATH_KEYS, sweeps and name not in HYDRA_TEXT_KEYS)
        if name == "finetune.head_optimizer":  # a choice of another group: Hydra calls it optimizer@PACKAGE
            key = key.replace(name, f"optimizer@{name}")
        result.append(f"{key}{sign}{value}")
    return result


def _text(value: str, path: bool, sweeps: bool) -> str:
    if not value or value == "null" or re.fullmatch(_GRAMMAR, value, re.DOTALL):
        return value
    if re.fullmatch(r"\[.*\]", value, re.DOTALL):
        return f"[{_entries(value[1:-1], path)}]"
    if sweeps and (choice := re.fullmatch(r"choice\((.+)\)", value, re.DOTALL)):
        return _entries(choice[1], path)  # Hydra's choice() drops quotes, a,b keeps them
    if sweeps and "," in value and not (path and _exists(value)):
        return _entries(value, path)
    if not path:
        return value if re.fullmatch(_PLAIN, value, re.IGNORECASE) else quote(value)
    return quote(_expand_home(value))


def _entries(value: str, path: bool) -> str:
    return ",".join(_text(entry.strip(), path, sweeps=False) or "''" for entry in _ENTRY.findall(value))


def _exists(value: str) -> bool:
    return Path(_expand_home(value)).exists()


def _expand_home(value: str) -> str:
    try:
        return str(Path(value).expanduser()) if value.startswith("~") else value
    except RuntimeError:
        raise UserError(f"{value}: this machine has no such user. Write ./{value} for a file of that name") from None


def empty_value_error(key: str) -> UserError:
    """Return the error for a key, flag or variable whose value is empty, which none of them allows."""
    key = key.rpartition("@")[2]  # of optimizer@PACKAGE
    return UserError(f"{key}= is empty. Is a shell variable unset? Give {key} a value, or leave it out")


def check_no_empty_arguments(arguments: list[str]) -> None:
    """Raise UserError for the first `key=` without a value, and for an empty entry of its list, dict or sweep."""
    for argument in arguments:
        key, sign, value = argument.partition("=")
        if sign and not key.startswith("-") and not value.strip():
            raise empty_value_error(key.lstrip("+~"))
    given = [a for a in arguments if "=" in a and not a.startswith("-")]
    for override in OverridesParser.create().parse_overrides(given):
        if any(not text.strip() for text in _texts(override._value)):
            raise empty_value_error(override.package or override.key_or_group)


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a parsed value."""
    if isinstance(value, QuotedString):
        yield value.text
    elif isinstance(value, str):
        yield value
    elif isinstance(value, ChoiceSweep):
        yield from _texts(value.list)
    elif isinstance(value, list | dict):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _texts(entry)


def unquote(value: str) -> str:
    """Return what `quote` was given; a value without quotes is returned as it is."""
    if len(value) < 2 or value[0] not in "'\"" or value[-1] != value[0]:
        return value
    inside = re.sub(rf"(\\+){value[0]}", lambda m: "\\" * (len(m[1]) // 2) + value[0], value[1:-1])
    return re.sub(r"\\+$", lambda m: "\\" * (len(m[0]) // 2), inside)


def quote(value: str) -> str:
    """Return a value in quotes, so that Hydra's grammar reads nothing in it."""
    escaped = re.sub(r"(\\*)'", lambda m: 2 * m[1] + "\\'", value)  # Hydra unescapes backslashes before a quote only
    escaped += re.search(r"\\*$", escaped)[0]  # type: ignore[index]
    return f"'{escaped}'"

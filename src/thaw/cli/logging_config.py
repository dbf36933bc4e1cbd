"""What a config may set of logging: lines to the terminal, and .log files in the run's folder.

Python's logging imports and calls what its config names: a class, a stream (`ext://...`), an attribute (`.`). Only what
Hydra's own logging configs and hydra_colorlog use is admitted here, key by key.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Rule = Callable[[Any], str | None]
"""Takes a value as it is written, interpolations unresolved; returns why it is refused, None when it is not."""

RUN_DIR_PREFIXES = ("${hydra.runtime.output_dir}/", "${hydra:runtime.output_dir}/")
_IN_THE_FOLDER = f"a log lies in the run's folder: {RUN_DIR_PREFIXES[0]}NAME.log, without .. or folders in NAME"


def refused_entries(config: Mapping[str, Any] | None, *, files: bool, job: str) -> Iterator[tuple[str, Any, str]]:
    """Yield key, value and reason of everything in one logging config that is not admitted.

    Args:
        config: as written, interpolations unresolved.
        files: whether there is a folder for log files.
        job: `hydra.job.name` as written, which may be part of a file's name.
    """
    if config is None:
        return
    if not isinstance(config, Mapping):
        yield "", config, "a logging config is expected"
        return
    formatters, handlers = (_names(config.get(key)) for key in ("formatters", "handlers"))
    logger = {"level": _level, "handlers": _list_of(handlers), "propagate": _one_of(True, False)}
    top = {
        "version": _one_of(1),
        "disable_existing_loggers": _one_of(True, False),
        "root": _keys(logger, nothing=True),
        "loggers": _anything,
        "formatters": _anything,
        "handlers": _anything,
    }
    yield from _section(config, "", top)
    if "root" not in config:
        yield ".root", None, "it is missing; root: null leaves logging as it is"
    for name, rules in (("loggers", logger), ("formatters", _FORMATTER)):
        for key, section in _items(config, name):
            yield from _section(section, key, rules)
    for key, section in _items(config, "handlers"):
        if isinstance(section, Mapping) and "class" not in section:
            yield f"{key}.class", None, f"it is missing; it can be {' or '.join(HANDLER_CLASSES)}"
        yield from _section(section, key, _handler(section, formatters, files, job))


def _names(section: Any) -> tuple[Any, ...]:
    return tuple(section) if isinstance(section, Mapping) else ()


def _items(config: Mapping[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    section = config.get(name) or {}
    if isinstance(section, Mapping):
        yield from ((f".{name}.{key}", value) for key, value in section.items())
    else:
        yield f".{name}", section


def _section(section: Any, key: str, rules: Mapping[str, Rule]) -> Iterator[tuple[str, Any, str]]:
    if not isinstance(section, Mapping):
        yield key, section, "a section with keys is expected"
        return
    for name, value in section.items():
        rule = rules.get(name)
        reason = rule(value) if rule else f"only these are taken from a config here: {', '.join(rules)}"
        if reason:
            yield f"{key}.{name}", value, reason


def _handler(section: Any, formatters: tuple[Any, ...], files: bool, job: str) -> dict[str, Rule]:
    rules: dict[str, Rule] = {"class": _one_of(*HANDLER_CLASSES), "level": _level, "formatter": _one_of(*formatters)}
    if isinstance(section, Mapping) and section.get("class") == "logging.FileHandler":
        if not files:
            return rules | {"filename": lambda _: "Hydra logs to the terminal: no run has a folder yet"}
        return rules | {
            "filename": lambda value: _file(value, job),
            "mode": _appended,  # w would empty a file of the user's, where the run's folder is one of theirs
            "delay": _one_of(True, False),
            "encoding": _one_of("utf-8", "utf8"),
        }
    return rules | {"stream": _one_of("ext://sys.stdout", "ext://sys.stderr")}


def _file(value: Any, job: str) -> str | None:
    """Admit a name with .log and without a folder, which no result of the run and nothing outside can have."""
    start = next((start for start in RUN_DIR_PREFIXES if str(value).startswith(start)), None)
    if start is None:
        return _IN_THE_FOLDER
    name = str(value).removeprefix(start)
    for spelling in ("${hydra.job.name}", "${hydra:job.name}"):
        name = name.replace(spelling, job)
    return None if re.fullmatch(r"[\w.=, -]*\w\.log", name) else _IN_THE_FOLDER


def _appended(mode: Any) -> str | None:
    return None if mode == "a" else "lines are appended to a log, which is mode: a, or no mode"


def _anything(_: Any) -> None:
    return None


def _one_of(*values: Any) -> Rule:
    def rule(value: Any) -> str | None:
        same = any(value == allowed and type(value) is type(allowed) for allowed in values)
        return (
            None
            if same
            else f"it can be {' or '.join(str(v).lower() if v in (True, False) else str(v) for v in values)}"
        )

    return rule


def _list_of(names: tuple[Any, ...]) -> Rule:
    def rule(value: Any) -> str | None:
        if isinstance(value, list) and all(entry in names for entry in value):
            return None
        return "a list of the handlers that the same config names is expected"

    return rule


def _keys(rules: Mapping[str, Rule], *, nothing: bool = False) -> Rule:
    def rule(value: Any) -> str | None:
        if value is None and nothing:
            return None
        return next((f"{key.removeprefix('.')}: {reason}" for key, _, reason in _section(value, "", rules)), None)

    return rule


def _level(value: Any) -> str | None:
    known = logging.getLevelNamesMapping()
    return None if value in known or type(value) is int else f"a level is expected: {', '.join(known)}"


def _text(value: Any) -> str | None:
    """Admit a text that logging takes literally: `ext://NAME` imports NAME, `cfg://KEY` reads another key."""
    if not isinstance(value, str):
        return "a text is expected"
    if re.match(r"[a-z]+://", value) or ("${" in value and re.match(r"[a-z$]", value)):
        return "a plain text is expected, one that does not begin with PREFIX:// or an interpolation"
    return None


def _texts(value: Any) -> str | None:
    nested = isinstance(value, Mapping) and all(
        _texts(v) is None if isinstance(v, Mapping) else _text(v) is None for v in value.values()
    )
    return None if nested else "names with plain texts are expected"


HANDLER_CLASSES = ("logging.StreamHandler", "logging.FileHandler")
# hydra_colorlog's formatter; another style than % has fields that reach into Python's objects.
_FORMATTER: dict[str, Rule] = {
    "format": _text,
    "datefmt": _text,
    "style": _one_of("%"),
    "()": _one_of("colorlog.ColoredFormatter"),
    "log_colors": _texts,
    "secondary_log_colors": _texts,
    "reset": _one_of(True, False),
}

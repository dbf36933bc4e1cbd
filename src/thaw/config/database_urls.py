"""URLs of databases and their passwords, which are neither printed nor stored, nor on a process's command line."""

import os
import re
from collections.abc import Sequence

PASSWORD_VARIABLE = "THAW_SWEEP_PASSWORD"
HIDDEN = "***"  # in the place of a password, as SQLAlchemy prints it
STORAGE_KEY = "sweep.storage"

_PASSWORD = re.compile(r"(?P<before>\w[\w+]*://[^:/@]*:)(?P<password>[^@]*)(?P<after>@)")  # as SQLAlchemy reads it
_QUERY_PASSWORD = re.compile(r"(?P<before>[?&]password=)(?P<password>[^&]*)(?P<after>)", re.IGNORECASE)


def password_of(url: str) -> str | None:
    """Return the password in a URL, as it is written there; None when there is none, or one that is hidden."""
    for pattern in (_PASSWORD, _QUERY_PASSWORD):
        if (found := pattern.search(url)) and found["password"] not in ("", HIDDEN):
            return found["password"]
    return None


def hide_password(url: str) -> str:
    """Return a text with `***` for the password of each URL in it."""
    for pattern in (_PASSWORD, _QUERY_PASSWORD):
        url = pattern.sub(rf"\g<before>{HIDDEN}\g<after>", url)
    return url


def is_hidden(url: str) -> bool:
    """Whether the password of a URL is in `THAW_SWEEP_PASSWORD`, or should be."""
    return any(
        (found := pattern.search(url)) and found["password"] == HIDDEN for pattern in (_PASSWORD, _QUERY_PASSWORD)
    )


def show_password(url: str, password: str) -> str:
    """Return a URL with its password, as it is written in URLs, in the place of `***`."""
    for pattern in (_PASSWORD, _QUERY_PASSWORD):
        url = pattern.sub(lambda found: found["before"] + password + found["after"], url)
    return url


def move_password(arguments: Sequence[str]) -> list[str]:
    """Return a command line's arguments with the password of `sweep.storage` moved to `THAW_SWEEP_PASSWORD`.

    Whatever is made of the arguments - stored configs, tags, names, the command lines of workers - does not have it
    then, and processes that are started inherit the variable.
    """
    moved = []
    for argument in arguments:
        key, _, url = argument.partition("=")
        if key.lstrip("+") == STORAGE_KEY and (password := password_of(url)) is not None:
            os.environ[PASSWORD_VARIABLE] = password
            argument = hide_password(argument)
        moved.append(argument)
    return moved

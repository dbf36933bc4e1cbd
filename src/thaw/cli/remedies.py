"""What to do about errors in which Hydra and OmegaConf name only what they found."""

import re
from collections.abc import Iterable

from omegaconf.errors import OmegaConfBaseException


def omegaconf_cause(error: BaseException) -> BaseException:
    """What OmegaConf said, which names the key; Hydra wraps it."""
    link: BaseException | None = error
    while link is not None and not isinstance(link, OmegaConfBaseException):
        link = link.__cause__ or link.__context__
    return link or error


def explain_with_remedy(message: str, key: str | None, arguments: Iterable[str]) -> str | None:
    """Return an error's text with what to do, None for a message that is not known here.

    message: its first line. key: what it is about. arguments: the command line.
    """
    if found := re.search(r"interpolation '(\$\{hydra:job\.(?:num|id)\})'.*'None'", message):
        return f"{key}={found[1]}: only the runs of a sweep have a number. Add -m, or give {key} a value"
    if found := re.match(r"Multiple values for (\S+)\. To override", message):
        group = found[1]
        for argument in arguments:  # without one it is a file's defaults list, of which the message is right
            added, _, choice = argument.partition("=")
            if added.lstrip("+") in (group, group.rpartition("@")[2]) and added.startswith("+"):
                name = added.lstrip("+").rpartition("@")[2]
                return f"+{name}={choice}: {name} has a choice already, and + adds another. Write {name}={choice}"
    if found := re.match(r"field '([^']+)' is not Optional", message):
        return f"{key or found[1]}=null: this key needs a value. Leave it out for its default"
    return None

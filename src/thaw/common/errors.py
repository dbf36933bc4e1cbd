"""The one exception for mistakes a user can mend, and the hint that goes with it."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something the user asked for cannot be done.

    The message is all that is printed: it names the thing, says what was expected and what to do.
    """


def did_you_mean(word: object, choices: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the closest choice, or an empty string when none is near."""
    near = get_close_matches(str(word).lower(), list(choices), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""


def joined(choices: Iterable[object]) -> str:
    """Join choices for an error message: `a, b, c`."""
    return ", ".join(str(c) for c in choices)

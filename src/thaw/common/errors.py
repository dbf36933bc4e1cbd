"""The exception for mistakes that a user can mend, and the hints in its messages."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something that the user asked for cannot be done.

    Its message is all that is printed: it names the thing, and says what was expected and what to do.
    """


def did_you_mean(word: object, choices: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the closest choice, or an empty string when none is near."""
    closest = get_close_matches(str(word).lower(), list(choices), n=1, cutoff=0.6)
    return f" Did you mean '{closest[0]}'?" if closest else ""


def joined(choices: Iterable[object]) -> str:
    """Return choices joined for an error message: `a, b, c`."""
    return ", ".join(map(str, choices))

"""Spellings of class names: when two names mean one class, and the form that random numbers are drawn by."""

import unicodedata
from collections.abc import Iterable

from thaw.common.console import printable
from thaw.common.errors import UserError

MAX_LISTED_PAIRS = 20  # pairs that an error lists


def normalize_name(name: str) -> str:
    """Return what all spellings of a class's name share: without case, outer spaces and Unicode form.

    Unicode's canonical caseless matching (The Unicode Standard, 3.13, D145). "é" may be one character or two: macOS
    and archives made on it have the second form.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name.strip()).casefold())


def refuse_spelling_variants(spelled: Iterable[tuple[str, str]], source: str, remedy: str) -> None:
    """Raise UserError for different names of one class, which would be learned against each other.

    Args:
        spelled: Names as written, each with its line or folder for the error.
        source: The table or folder that holds them.
        remedy: Last line of the error.
    """
    first: dict[str, tuple[str, str]] = {}
    pairs: dict[tuple[str, str], str] = {}
    for name, origin in spelled:
        other, other_origin = first.setdefault(normalize_name(name), (name, origin))
        if other != name:
            pairs.setdefault((other, name), f"\n  {_describe_pair(other, other_origin, name, origin)}")
    if pairs:
        more = f"\n  and {len(pairs) - MAX_LISTED_PAIRS} more" if len(pairs) > MAX_LISTED_PAIRS else ""
        raise UserError(
            f"{source}: names of classes that differ only in case, outer spaces or Unicode form:"
            f"{''.join(list(pairs.values())[:MAX_LISTED_PAIRS])}{more}\n{remedy}"
        )


def _describe_pair(one: str, one_origin: str, other: str, other_origin: str) -> str:
    look_alike = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
    names = [ascii(name) if look_alike else f"'{name}'" for name in (one, other)]
    return printable(f"{names[0]} ({one_origin}) and {names[1]} ({other_origin})")

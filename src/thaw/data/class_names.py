"""When two names of classes mean the same class, and which spelling of a name random numbers hang on."""

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
    once = unicodedata.normalize("NFD", name.strip()).casefold()
    return unicodedata.normalize("NFC", once)


def refuse_spelling_variants(spelled: Iterable[tuple[str, str]], where: str, remedy: str) -> None:
    """Raise UserError for names that differ and mean the same class: each would be learned against the other.

    spelled: names as written, and the place of each, which the error names beside it.
    """
    first: dict[str, tuple[str, str]] = {}
    pairs: dict[tuple[str, str], str] = {}
    for name, place in spelled:
        other, there = first.setdefault(normalize_name(name), (name, place))
        if other != name:
            pairs.setdefault((other, name), f"\n  {_both(other, there, name, place)}")
    if pairs:
        more = f"\n  and {len(pairs) - MAX_LISTED_PAIRS} more" if len(pairs) > MAX_LISTED_PAIRS else ""
        raise UserError(
            f"{where}: names of classes that differ only in case, outer spaces or Unicode form:"
            f"{''.join(list(pairs.values())[:MAX_LISTED_PAIRS])}{more}\n{remedy}"
        )


def _both(one: str, there: str, other: str, here: str) -> str:
    look_alike = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
    names = [ascii(name) if look_alike else f"'{name}'" for name in (one, other)]
    return printable(f"{names[0]} ({there}) and {names[1]} ({here})")

"""Times in words, and as people write them: 90s, 5m, 1h, 1h30m."""

import re

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


def seconds_of(text: str) -> float | None:
    """Return the seconds of a time such as `90s`, `5m`, `1.5h` or `1h30m`; None of what is no time above zero."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts) or None


def short_seconds(seconds: float) -> str:
    """Return seconds in words, none of which is nothing: `45 s`, `0.3 s`."""
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1g} s"


def duration(seconds: float) -> str:
    """Return a time in words: `45 s`, `12 min`, `1.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

"""Times as people write them."""

import pytest

from thaw.common.durations import duration, seconds_of, short_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("1h", 3600), ("1h30m", 5400), ("1.5h", 5400), ("2m5s", 125)],
)
def test_a_time_is_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "5min", "-5m", "0s", "1h 5m", "five", "1e3s"])
def test_what_is_no_time_is_none(text: str) -> None:
    assert seconds_of(text) is None


def test_a_time_in_words() -> None:
    assert [duration(seconds) for seconds in (8.4, 89, 91, 5000, 5400)] == ["8 s", "89 s", "2 min", "83 min", "1.5 h"]


def test_a_short_time_is_not_nothing() -> None:
    assert [short_seconds(seconds) for seconds in (0.04, 0.32, 1.4, 95)] == ["0.04 s", "0.3 s", "1 s", "95 s"]

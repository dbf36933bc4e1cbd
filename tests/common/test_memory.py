"""Memory that a process has used, and may use."""

from pathlib import Path

import psutil
import pytest

from thaw.common import memory


def test_the_peak_grows_with_what_was_used_once() -> None:
    before = memory.peak_bytes()
    resident = psutil.Process().memory_info().rss
    assert before >= 0.9 * resident
    bytearray(b"x") * (before - resident + 100_000_000)
    assert memory.peak_bytes() >= before + 90_000_000


@pytest.mark.parametrize(
    ("limit", "used", "inactive", "free"),
    [("1000000", "400000", 100000, 700_000), ("1000000", "2000000", 0, 0), ("max", "400000", 0, None)],
)
def test_a_container_has_no_more_than_its_limit(
    tmp_path: Path, limit: str, used: str, inactive: int, free: int | None
) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text(f"{used}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\n")
    resident = psutil.Process().memory_info().rss
    available = memory.available_bytes(tmp_path)
    if free is None:
        assert available > resident + 1_000_000
    else:
        assert available == pytest.approx(resident + free, abs=20_000_000)


def test_without_a_container_the_machine_counts(tmp_path: Path) -> None:
    assert memory.available_bytes(tmp_path) > psutil.Process().memory_info().rss

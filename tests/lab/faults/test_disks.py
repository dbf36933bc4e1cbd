"""A disk that is really full, a folder that is really read-only; both gone afterwards."""

import errno
import shutil

import pytest

from thaw_lab.faults.disk_trials import fill_disk, read_only_folder, small_disk
from thaw_lab.faults.trial import TrialSkipped


def test_a_small_disk_fills_up_and_goes_away(tmp_path) -> None:
    try:
        with small_disk(tmp_path / "disk", 4) as disk:
            ballast = fill_disk(disk, 64_000)
            with pytest.raises(OSError, match="No space left") as full:
                (disk / "file").write_bytes(bytes(200_000))
            assert full.value.errno == errno.ENOSPC
            ballast.unlink()
            (disk / "file").write_bytes(bytes(200_000))
    except TrialSkipped as reason:
        pytest.skip(str(reason))
    assert list((tmp_path / "disk").iterdir()) == []
    shutil.rmtree(tmp_path / "disk")


def test_a_folder_is_read_only_for_as_long_as_the_block_runs(tmp_path) -> None:
    (tmp_path / "file").write_text("there")
    try:
        with read_only_folder(tmp_path):
            assert (tmp_path / "file").read_text() == "there"
            with pytest.raises(OSError, match=r"Read-only|Permission"):
                (tmp_path / "other").touch()
    except TrialSkipped as reason:
        pytest.skip(str(reason))
    (tmp_path / "other").touch()

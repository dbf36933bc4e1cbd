"""A run is opened with what its steps share, and closed with what its end leaves."""

import contextlib
from pathlib import Path

import pytest

from thaw import tracking
from thaw.common.errors import UserError
from thaw.config.job import Job
from thaw.config.schema import Config
from thaw.run_context import remove_checkpoints_at_end
from thaw.training.checkpoint import TrainingProgress


@pytest.mark.parametrize(
    ("error", "left"),
    [
        (None, False),
        (tracking.RunNotClosed("refused"), False),
        (UserError("no room"), True),
        (KeyboardInterrupt(), True),
    ],
)
def test_checkpoints_go_once_there_is_a_result_though_the_store_was_not_told(
    tmp_path: Path, error: BaseException | None, left: bool
) -> None:
    job = Job(tmp_path, tmp_path)
    file = job.folder / "checkpoints" / TrainingProgress(0, 1, 0).file_name
    file.parent.mkdir()
    file.write_bytes(b"")
    with contextlib.suppress(UserError, KeyboardInterrupt), remove_checkpoints_at_end(Config(), job):
        if error:
            raise error
    assert file.exists() == left

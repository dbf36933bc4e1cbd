"""Stages that die between checkpoints, and go on from the newest one."""

import pytest


class Killed(BaseException):
    """Stands for kill -9: no handler of errors sees it."""


def die_after(checkpoints: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next stage die when it has written so many checkpoints, one an epoch; the one after it goes on."""
    from thaw.training import checkpoint_callback

    class Resuming(checkpoint_callback.StageCheckpointer):
        def __init__(self, directory, *arguments) -> None:
            super().__init__(directory, *arguments, resume_from=directory.load_newest())
            self.left = checkpoints if self.resume_from is None else None

        def due_at_epoch_end(self) -> bool:
            return True

        def save(self, *place_and_state) -> None:
            super().save(*place_and_state)
            if self.left is not None:
                self.left -= 1
                if not self.left:
                    raise Killed

    monkeypatch.setattr(checkpoint_callback, "StageCheckpointer", Resuming)

"""The end of a sweep says what is left to do."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from thaw import tracking
from thaw.cli.sweep_callback import SweepCallback


@pytest.mark.parametrize("repeated", [False, True])
def test_a_sweep_of_drafts_that_ended_early_names_the_command_of_its_result(
    repeated: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    best: Any = SimpleNamespace(id="abc", objective=0.9, overrides="", repeats_draft=repeated, is_head_alone=False)
    monkeypatch.setattr(tracking, "close_sweep", lambda *_, **__: [best])
    monkeypatch.setattr(tracking, "best_drafts", lambda children: children)
    monkeypatch.setattr(tracking, "ranked_fold_summaries", lambda children: [])
    monkeypatch.setattr(tracking, "full_precision_overrides", lambda draft: ["precision=auto", "dataset.path='my a'"])
    callback: Any = SweepCallback()
    callback._sweep, callback._folder = SimpleNamespace(id="sweep"), tmp_path
    callback._close("FAILED", "1 of its jobs failed")
    said = capsys.readouterr().out
    assert ("the best draft, abc, was not trained again" in said) is not repeated
    assert ("train" in said and "precision=auto" in said) is not repeated

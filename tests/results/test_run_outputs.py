"""Which runs keep their network, report and predictions."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from thaw import tracking
from thaw.config.job import Job
from thaw.config.schema import Config
from thaw.results import run_outputs

AGAIN = {tracking.REPEATS_DRAFT_TAG: "0123456789abcdef"}


@pytest.mark.parametrize(
    ("resumed", "given", "kept"), [({}, {}, False), ({}, AGAIN, True), (AGAIN, {}, True), ({"thaw.x": "1"}, {}, False)]
)
def test_a_repeated_draft_keeps_its_network_resumed_or_not(
    resumed: Mapping[str, str], given: dict[str, str], kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "best_objective", lambda *_: 1.0)
    tracked: Any = SimpleNamespace(resumed_tags=resumed, set_tags=lambda tags: None)
    job = Job(None, Path(), parent_run_id="parent", tags=given)
    context: Any = SimpleNamespace(config=Config(), job=job, tracked=tracked)
    assert run_outputs.keeps_model(context, 0.9) is kept


@pytest.mark.parametrize("draft", [True, False])
def test_a_sweeps_draft_keeps_figures_only(draft: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "best_objective", lambda *_: None)
    tracked: Any = SimpleNamespace(resumed_tags={}, set_tags=lambda tags: None)
    context: Any = SimpleNamespace(config=Config(), job=Job(None, Path(), parent_run_id="parent"), tracked=tracked)
    assert run_outputs.keeps_model(context, 0.9, draft=draft) is not draft

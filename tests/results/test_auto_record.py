"""The record of recipe=auto, from a run's folder to the report."""

import json
from pathlib import Path

from thaw.results.auto_record import AUTO_FILE, auto_facts, read_auto_record


def test_a_run_of_another_recipe_has_none(tmp_path: Path) -> None:
    assert read_auto_record(tmp_path) == {}
    assert auto_facts({}) == []


def test_the_report_has_what_was_timed_and_what_would_help(tmp_path: Path) -> None:
    depths = [{"freeze": "block3b", "epoch_seconds": 81.6}, {"freeze": "block5c", "epoch_seconds": 40.2}]
    record = {"budget_seconds": 180.0, "depths": depths, "lines": ["more time: budget=6m would train 5 epochs"]}
    (tmp_path / AUTO_FILE).write_text(json.dumps(record))
    assert auto_facts(read_auto_record(tmp_path)) == [
        ("recipe=auto", "3 min in all · behind block3b 82 s an epoch · behind block5c 40 s an epoch"),
        ("more time", "budget=6m would train 5 epochs"),
    ]

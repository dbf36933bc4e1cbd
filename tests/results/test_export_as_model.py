"""The folder of an export is named as one where a network is asked for."""

import json
from pathlib import Path

import pytest

from thaw.common.errors import UserError
from thaw.results.trained_classifier import find_saved_network, find_saved_networks


@pytest.mark.parametrize(
    ("run_id", "advice"),
    [("abc123", "of run abc123: give model=abc123"), (None, "without a run: give that one's folder")],
)
def test_an_export_is_no_network_and_names_its_run(tmp_path: Path, run_id: str | None, advice: str) -> None:
    (tmp_path / "export.json").write_text(json.dumps({"written_by": "thaw export", "run_id": run_id}))
    for find in (find_saved_network, find_saved_networks):
        with pytest.raises(UserError, match=f"is an export, for another runtime, .*{advice}"):
            find(str(tmp_path), tmp_path, "sqlite:///absent.db")

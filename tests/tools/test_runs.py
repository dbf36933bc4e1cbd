"""Runs are listed as a table, CSV or JSON, and what no run needs is removed when that is confirmed."""

import csv
import dataclasses
import io
import json
from pathlib import Path

import pytest

from thaw.common.errors import UserError
from thaw.config.schema import TrackingConfig
from thaw.config.tool_schemas import RunsConfig
from thaw.tools import runs
from thaw.tracking import run_files, start_run
from thaw.tracking.mlflow_store import open_store
from thaw.tracking.run_overview import RunRow

ROW = RunRow(
    "a" * 32, "name", "FINISHED", 1_800_000_000_000, 1.25, 0.9, 0.8, "vgg16", "digits", "finetune", "/f", "run"
)


def test_rows_are_sorted_by_any_column_and_what_is_not_known_comes_last() -> None:
    rows = [dataclasses.replace(ROW, id=id, val_accuracy=value) for id, value in [("a", 0.5), ("B", None), ("c", 0.9)]]
    assert [row.id for row in runs.sorted_rows(rows, "val_accuracy")] == ["a", "c", "B"]
    assert [row.id for row in runs.sorted_rows(rows, "-val_accuracy")] == ["c", "a", "B"]
    assert [row.id for row in runs.sorted_rows(rows, "-id")] == ["c", "B", "a"]
    for column in runs.COLUMNS:
        assert len(runs.sorted_rows(rows, column)) == 3


def test_a_column_that_does_not_exist_is_refused_before_the_store_is_opened() -> None:
    with pytest.raises(UserError, match=r"order=-val_acuracy is no column. Did you mean 'val_accuracy'\? Columns: id"):
        runs.runs(RunsConfig(order="-val_acuracy", tracking_uri="sqlite:////none/mlflow.db"))


@pytest.mark.parametrize(("columns", "dropped"), [(250, []), (140, ["folder"]), (60, ["folder", "recipe", "data set"])])
def test_a_narrow_terminal_gets_fewer_columns(columns: int, dropped: list[str], monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout", Terminal())
    row = dataclasses.replace(ROW, name=80 * "n", folder=60 * "f")
    titles = [column.header for column in runs._table([row]).columns]
    assert "runs" not in titles, "there is no sweep"
    assert [title for title in ("folder", "recipe", "data set") if title not in titles] == dropped
    assert titles[:3] == ["run", "name", "status"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_two_runs_are_listed_in_every_format(finished_runs, capsys) -> None:
    """The fine-tuned one and the bottleneck, by the command and by what it calls."""
    commands = finished_runs.commands
    listed = commands.run("scripts/runs.py", "format=json", "order=started", "filter=params.recipe != ''")
    assert listed.code == 0, listed.err
    finetuned, bottleneck = json.loads(listed.out)
    result = finished_runs.finetuned.result()
    assert (finetuned["id"], finetuned["recipe"], finetuned["status"]) == (result["run_id"], "finetune", "FINISHED")
    assert finetuned["val_accuracy"] == result["metrics"]["val/accuracy"]
    assert finetuned["test_accuracy"] == result["metrics"]["test/accuracy"]
    assert (finetuned["backbone"], finetuned["dataset"]) == ("efficientnet_lite0", "photos")
    assert finetuned["name"].startswith("photos hidden=32 head_epochs=3 epochs=2")
    assert (finetuned["runs"], finetuned["best_run"]) == (None, None)

    uri = f"sqlite:///{commands.outputs}/mlflow.db"
    config = RunsConfig(outputs=str(commands.outputs), tracking_uri=uri, limit=1, format="csv")
    runs.runs(config)
    printed = capsys.readouterr()
    (row,) = csv.DictReader(io.StringIO(printed.out))
    assert (row["id"], row["runs"]) == (bottleneck["id"], ""), "the newest"
    assert "there are more" in printed.err
    runs.runs(dataclasses.replace(config, format="table", limit=None))
    table = capsys.readouterr().out
    assert finetuned["id"][:8] in table
    assert f"{finetuned['test_accuracy']:.4f}" in table
    assert "more" not in table
    runs.runs(dataclasses.replace(config, format="table", filter="attributes.status = 'FAILED'"))
    assert "no run that the filter finds" in capsys.readouterr().out
    runs.runs(dataclasses.replace(config, action="clean"))
    assert capsys.readouterr().out == "nothing can be removed\n"


def test_no_file_of_a_real_run_is_taken_for_somebodys_own(finished_runs) -> None:
    """With its whole report."""
    for ran in (finished_runs.finetuned, finished_runs.bottleneck):
        folder = finished_runs.commands.folder / Path(ran.out.split("result ")[1].split("\n")[0]).parent
        assert run_files.read_folder(folder).others == ()


def test_what_was_found_is_removed_when_that_is_confirmed(tmp_path: Path, capsys) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    for name in ("gone", "own"):
        with start_run(TrackingConfig(uri=uri), tmp_path, name=name, folder=tmp_path / "runs" / name) as run:
            (run.folder / "result.json").write_text(json.dumps({"run_id": run.id}))
        open_store(uri, tmp_path).client.delete_run(run.id)
    (tmp_path / "runs" / "own" / "notes.txt").write_text("mine")
    config = RunsConfig(action="clean", outputs=str(tmp_path), tracking_uri=uri)
    runs.runs(config)
    printed = capsys.readouterr().out
    assert "own: it holds files that thaw may not have written: notes.txt" in printed
    assert "its run was deleted in MLflow" in printed
    assert "nothing was removed. confirm=true removes these, " in printed
    assert (tmp_path / "runs" / "gone" / "result.json").exists()
    runs.runs(dataclasses.replace(config, confirm=True))
    assert " removed" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["own"]
    assert (tmp_path / "runs" / "own" / "result.json").exists()
    runs.runs(dataclasses.replace(config, confirm=True))
    assert capsys.readouterr().out.endswith("nothing can be removed\n")

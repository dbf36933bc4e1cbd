"""Two real runs compared by the command: the table, the page, the files and the refusals."""

import csv
import dataclasses
import io
import json
import re
from pathlib import Path

import pytest

from thaw import tracking
from thaw.common.errors import UserError
from thaw.compare.compared_run import read_run
from thaw.compare.reevaluation import evaluate_again
from thaw.config.tool_schemas import CompareConfig
from thaw.tools import compare

from ..conftest import FinishedRuns


@pytest.fixture(scope="module")
def ids(finished_runs: FinishedRuns) -> list[str]:
    return [finished_runs.bottleneck.result()["run_id"], finished_runs.finetuned.result()["run_id"]]


def config_of(finished_runs: FinishedRuns, output: Path, **options) -> CompareConfig:
    outputs = finished_runs.commands.outputs
    given = {
        "outputs": str(outputs),
        "tracking_uri": f"sqlite:///{outputs}/mlflow.db",
        "output": str(output),
        **options,
    }
    return CompareConfig(**given)


def test_two_runs_are_compared_by_the_command(finished_runs: FinishedRuns, ids: list[str], tmp_path: Path) -> None:
    page = tmp_path / "here" / "mine.html"
    ran = finished_runs.commands.run("scripts/compare.py", f"runs=[{ids[0][:8]},{ids[1]}]", f"output={page}")
    assert (ran.code, ran.err) == (0, "")
    first, *lines = ran.out.splitlines()
    # The cheaper one comes first; which of two small runs took fewer seconds is chance.
    assert re.match(r"bottleneck .* against finetune |finetune .* against bottleneck ", first), first
    assert [run[:8] in ran.out for run in ids] == [True, True]
    assert lines[-2] == f"page {page}"
    content = json.loads((page.parent / "comparison.json").read_text())
    results = [finished_runs.bottleneck.result(), finished_runs.finetuned.result()]
    assert content["test_images"] == 6
    for setting, result in zip(content["settings"], results, strict=True):
        assert setting["test_accuracy"] == pytest.approx(result["metrics"]["test/accuracy"])
        assert setting["macro_f1"] == pytest.approx(result["metrics"]["test/macro_f1"])
        assert setting["loss"] == pytest.approx(result["metrics"]["test/loss"], abs=1e-4)
        assert setting["seconds"] == pytest.approx(result["seconds"]["total"] - result["seconds"].get("report", 0.0))
        assert setting["trained_parameters"] == result["stages"][-1]["trainable_params"]
    difference = results[1]["metrics"]["test/accuracy"] - results[0]["metrics"]["test/accuracy"]
    assert content["pairs"][0]["difference"] == pytest.approx(difference)
    assert {"recipe", "bottleneck.epochs"} <= {entry["key"] for entry in content["config"]}
    text = page.read_text()
    assert "validation accuracy" in text
    assert len(text.encode()) < 2_000_000


def test_a_filter_finds_the_runs_and_csv_is_all_that_is_printed(
    finished_runs: FinishedRuns, ids: list[str], tmp_path: Path, capfdbinary: pytest.CaptureFixture
) -> None:
    compare.compare(config_of(finished_runs, tmp_path, filter="metrics.objective >= 0", format="csv"))
    rows = list(csv.DictReader(io.StringIO(capfdbinary.readouterr().out.decode())))
    assert sorted(row["run_ids"] for row in rows) == sorted(ids)
    assert {row["test_images"] for row in rows} == {"6"}


def test_a_run_is_found_by_its_folder_too(finished_runs: FinishedRuns, ids: list[str], tmp_path: Path) -> None:
    folder = next(finished_runs.commands.outputs.glob("runs/*/*"))
    compare.compare(config_of(finished_runs, tmp_path, runs=[str(folder), *ids], format="json"))
    assert len(json.loads((tmp_path / "comparison.json").read_text())["settings"]) == 2


def test_a_network_that_is_evaluated_again_says_what_its_run_said(finished_runs: FinishedRuns, ids: list[str]) -> None:
    outputs = finished_runs.commands.outputs
    uri = f"sqlite:///{outputs}/mlflow.db"
    bottleneck, finetuned = (read_run(tracking.find_run(uri, outputs, run)) for run in ids)
    forgotten = dataclasses.replace(finetuned, predictions={})
    (_, evaluated), remarks = evaluate_again([bottleneck, forgotten], outputs, uri)
    assert remarks[0].endswith("Evaluated again: 1 of 2 runs.")
    assert {key: prediction.predicted for key, prediction in evaluated.predictions.items()} == {
        key: prediction.predicted for key, prediction in finetuned.predictions.items()
    }
    for key, prediction in evaluated.predictions.items():
        assert prediction.confidence == pytest.approx(finetuned.predictions[key].confidence, abs=1e-5)


def test_mistakes_are_one_clear_error(finished_runs: FinishedRuns, ids: list[str], tmp_path: Path) -> None:
    almost = ids[0][:-1] + ("0" if ids[0][-1] != "0" else "1")
    for options, message in [
        ({"runs": [ids[0], almost]}, rf"no run {almost} in .* Did you mean '{ids[0]}' \("),
        ({"filter": "objective > > 1"}, r"filter=objective > > 1 cannot be read: .* Expected MLflow's filter"),
        ({"filter": "metrics.objective > 2"}, "here are none"),
        (
            {"filter": "metrics.objective > 0", "tracking_experiment": "thw"},
            r"no experiment of .*Did you mean 'thaw'\?",
        ),
        ({"runs": ids, "tracking_uri": f"sqlite:///{tmp_path}/none.db"}, "there is no store at"),
    ]:
        with pytest.raises(UserError, match=message):
            compare.compare(config_of(finished_runs, tmp_path, **options))

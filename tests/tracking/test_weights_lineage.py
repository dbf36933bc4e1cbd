"""The runs that weights come from, found by id, folder or file. A real store, no TensorFlow."""

import json
from pathlib import Path

import pytest

from thaw.tracking.run_lookup import find_run
from thaw.tracking.tracked_run import start_run
from thaw.tracking.weights_lineage import LineageRun, weights_lineage


def a_run(tracking, outputs, folder: Path, weights: str, *, log_manifest: bool = True) -> str:
    with start_run(tracking, outputs, name="run", folder=folder) as run:
        run.log_text(f"recipe: scratch\nbackbone: {{weights: {weights!r}}}\n", "config.yaml")
        (folder / "manifest.csv").write_text("split,sha256\n")
        if log_manifest:
            run.log_artifact(folder / "manifest.csv")
    (folder / "model").mkdir()
    (folder / "model" / "config.yaml").write_text(f"backbone: {{weights: {weights!r}}}\n")
    (folder / "model" / "model.keras").write_bytes(b"")
    return run.id


def test_each_run_leads_to_the_one_before_it(tracking, outputs, tmp_path):
    first = a_run(tracking, outputs, tmp_path / "first", "imagenet")
    second = a_run(tracking, outputs, tmp_path / "second", first)
    third = a_run(tracking, outputs, tmp_path / "third", str(tmp_path / "second" / "model" / "model.keras"))
    for wanted in (third, str(tmp_path / "third"), str(tmp_path / "third" / "model" / "model.keras")):
        lineage = weights_lineage(wanted, tracking.uri, outputs)
        assert ([run.id for run in lineage.runs], lineage.unknown) == ([third, second, first], None)
        assert all(run.manifest.is_file() for run in lineage.runs)


def test_what_nobody_knows_is_named(tracking, outputs, tmp_path):
    lost = a_run(tracking, outputs, tmp_path / "lost", "0123456789")
    assert weights_lineage(lost, tracking.uri, outputs).unknown == "0123456789"
    (tmp_path / "foreign.h5").write_bytes(b"")
    assert weights_lineage(str(tmp_path / "foreign.h5"), tracking.uri, outputs) == weights_lineage(
        "imagenet", tracking.uri, outputs
    )


def test_a_manifest_that_the_store_has_not_is_read_from_the_runs_own_folder(tracking, outputs, tmp_path):
    run = a_run(tracking, outputs, tmp_path / "run", "imagenet", log_manifest=False)
    assert weights_lineage(run, tracking.uri, outputs).runs[0].manifest == tmp_path / "run" / "manifest.csv"
    a_run(tracking, outputs, tmp_path / "another", "imagenet")
    (tmp_path / "another" / "run.json").replace(tmp_path / "run" / "run.json")  # the folder is now another run's
    assert not weights_lineage(run, tracking.uri, outputs).runs[0].manifest.exists()


@pytest.mark.parametrize(
    ("config", "trained"),
    [
        ({"recipe": "scratch"}, True),
        ({"recipe": "bottleneck"}, False),
        ({"recipe": "finetune", "finetune": {"freeze": "all"}}, False),
        ({"recipe": "finetune", "finetune": {"freeze": "block7a"}}, True),
        ({"recipe": "finetune", "finetune": {"freeze": "x", "stages": [{"freeze": "all"}]}}, False),
        ({"recipe": "finetune", "finetune": {"stages": [{"freeze": "all"}, {"freeze": 172}]}}, True),
        ({}, True),
    ],
)
def test_whether_the_backbone_was_trained_is_read_from_the_config(config, trained):
    assert LineageRun("a", Path("manifest.csv"), config, Path()).backbone_trained is trained


def test_a_backbone_that_was_put_back_is_not_trained(tracking, outputs, tmp_path):
    run_id = a_run(tracking, outputs, tmp_path / "run", "imagenet")
    model = tmp_path / "run" / "model" / "model.keras"
    for wanted in (run_id, str(model)):
        assert weights_lineage(wanted, tracking.uri, outputs).runs[0].backbone_trained
    find_run(tracking.uri, outputs, run_id).set_tag("thaw.kept", "head")
    stages = [{"name": "head", "kept": True}, {"name": "thaw", "kept": False}]
    (tmp_path / "run" / "result.json").write_text(json.dumps({"run_id": run_id, "stages": stages}))
    for wanted in (run_id, str(model)):
        assert not weights_lineage(wanted, tracking.uri, outputs).runs[0].backbone_trained

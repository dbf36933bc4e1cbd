"""A small real run, reproduced: the same bits, and what it says when something is not the same."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image, ImageOps

from thaw import tracking
from thaw.common.errors import UserError
from thaw.config.job import Job
from thaw.config.schema import (
    BackboneConfig,
    BottleneckConfig,
    CacheConfig,
    Config,
    DatasetConfig,
    HeadConfig,
    TrackingConfig,
)
from thaw.config.tool_schemas import ReproduceConfig
from thaw.reproduce.original_run import OriginalRun
from thaw.run import run
from thaw.tools import reproduce

ROOT = Path(__file__).parents[2]
CHANGED = "apple/07.jpg"


@pytest.fixture(scope="module")
def pictures(photos, tmp_path_factory) -> Path:
    return Path(shutil.copytree(photos, tmp_path_factory.mktemp("reproduced") / "photos"))


@pytest.fixture(scope="module")
def trained(commands, pictures) -> str:
    """The run's id; it kept activations in a cache of its own."""
    config = Config(
        recipe="bottleneck",
        outputs=str(commands.outputs),
        backbone=BackboneConfig(image_size=32),
        dataset=DatasetConfig(name="image_folder", path=str(pictures)),
        head=HeadConfig(hidden=16, dropout=0.3),
        bottleneck=BottleneckConfig(epochs=3),
        cache=CacheConfig(dir=str(commands.folder / "kept")),
        tracking=TrackingConfig(uri=f"sqlite:///{commands.outputs}/mlflow.db"),
    )
    return run(config, Job(ROOT, commands.folder / "trained")).run_id


def again(commands, run_id, **options):
    """Reproduce in this process; return the exit code and reproduction.json."""
    before = set(commands.outputs.glob("reproduced/*/*"))
    config = ReproduceConfig(
        run=run_id, outputs=str(commands.outputs), tracking_uri=f"sqlite:///{commands.outputs}/mlflow.db"
    )
    code = reproduce.reproduce(dataclasses.replace(config, **options), ROOT)
    (folder,) = set(commands.outputs.glob("reproduced/*/*")) - before
    return code, json.loads((folder / "reproduction.json").read_text()), folder


def test_the_same_bits_come_out_in_another_process(commands, trained):
    ran = commands.run("scripts/reproduce.py", f"run={trained[:10]}")
    assert (ran.code, ran.err) == (0, "")
    assert "identical: all figures of 3 epochs and the final weights, to the last bit" in ran.out
    assert "data: 60 files as in the run" in ran.out
    assert "activations: 0 from the cache, 60 computed" in ran.out, "what is kept could hide a difference"
    (folder,) = commands.outputs.glob("reproduced/*/*")
    report = json.loads((folder / "reproduction.json").read_text())
    assert (report["verdict"], report["figures"], report["environment"]) == ("identical", [], [])
    assert not list(folder.glob(".cache-*"))
    assert not (folder / "model").exists(), "nobody needs the same network twice"
    new = commands.client().get_run(report["run_id"])
    assert new.data.tags["thaw.reproduces"] == trained
    assert new.data.tags["thaw.verdict"] == "identical"
    assert new.data.tags["thaw.weights_sha256"] == commands.client().get_run(trained).data.tags["thaw.weights_sha256"]


def test_what_differs_is_named_and_where_the_runs_part(commands, pictures, trained, capsys):
    tag = "fingerprint.package.keras"
    keras = commands.client().get_run(trained).data.tags[tag]
    content = (pictures / CHANGED).read_bytes()
    commands.client().set_tag(trained, tag, "3.0.1")
    ImageOps.invert(Image.open(pictures / CHANGED)).save(pictures / CHANGED)
    (pictures / "apple/19.jpg").rename(pictures / "lime/a.jpg")
    try:
        code, report, folder = again(commands, trained, tolerance=1e-6)
    finally:
        (pictures / CHANGED).write_bytes(content)
        (pictures / "lime/a.jpg").rename(pictures / "apple/19.jpg")
        commands.client().set_tag(trained, tag, keras)
    out = capsys.readouterr().out
    assert (code, report["verdict"]) == (3, "different")
    assert f"package.keras: 3.0.1 in the run, {keras} now" in out
    assert f"changed {CHANGED}: " in out
    assert "different: the data changed since the run, so this is another one, parting by more than 1e-06 in " in out
    assert "moved apple/19.jpg to lime/a.jpg" in out
    assert out.index("moved apple") < out.index("epoch 1"), "before the training, which may take hours"
    assert report["data"]["changed"] == 1
    assert {"name": "package.keras", "before": "3.0.1", "now": keras} in report["environment"]
    assert report["first"]["figure"] == "data"
    assert min(entry["epoch"] for entry in report["figures"] if entry["epoch"]) == 1
    assert CHANGED in (folder / "data_differences.csv").read_text()
    artifacts = {file.path for file in commands.client().list_artifacts(report["run_id"])}
    assert {"reproduction.json", "data_differences.csv"} <= artifacts


def test_other_initial_weights_are_named_and_are_another_run(commands, trained, capsys):
    tag = "fingerprint.weights_sha256"
    original = commands.client().get_run(trained).data.tags[tag]
    commands.client().set_tag(trained, tag, "another")
    try:
        code, report, _ = again(commands, trained, fresh=False)
    finally:
        commands.client().set_tag(trained, tag, original)
    assert (code, report["verdict"]) == (3, "different")
    assert "different: the initial weights changed since the run" in capsys.readouterr().out
    assert report["figures"] == [
        {"epoch": None, "figure": "initial weights", "before": "another", "now": original, "difference": None}
    ]


def test_a_data_set_that_is_gone_is_one_clear_error(commands, pictures, trained):
    moved = pictures.rename(pictures.with_name("elsewhere"))
    try:
        with pytest.raises(UserError, match=r"photos.* does not exist"):
            again(commands, trained)
    finally:
        moved.rename(pictures)


@pytest.mark.parametrize(("reason", "same"), [("the loss became nan", True), ("the disk is full", False)])
def test_a_failure_that_comes_again_is_a_reproduction(reason, same, tmp_path, monkeypatch):
    def diverge(config, job):
        raise UserError("the loss became nan")

    monkeypatch.setattr(reproduce, "run", diverge)
    (tmp_path / "run.json").write_text('{"run_id": "new"}')
    stored = SimpleNamespace(status="FAILED", tags={tracking.REASON_TAG: reason})
    original = OriginalRun(stored, "sqlite:///", Config(), [], [])
    if same:
        assert reproduce._rerun(original, Config(), Job(ROOT, tmp_path)) == "new"
    else:
        with pytest.raises(UserError, match="became nan"):
            reproduce._rerun(original, Config(), Job(ROOT, tmp_path))


def test_a_run_that_is_not_there_exits_with_1(commands, trained):
    ran = commands.run("scripts/reproduce.py", "run=0123456789")
    assert ran.code == 1
    assert ran.err.startswith("error: no run 0123456789 in ")
    assert ran.err.count("\n") == 1

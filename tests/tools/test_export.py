"""The command export: the folder it leaves, the canary in it, and what it refuses."""

import csv
import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from thaw.common.errors import UserError
from thaw.config.tool_schemas import ExportConfig
from thaw.export import export_formats
from thaw.results import trained_classifier
from thaw.tools import export as tool


@pytest.fixture(scope="module")
def loaded() -> dict[Any, Any]:
    return {}


@pytest.fixture(autouse=True)
def _load_the_network_once(loaded: dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    load = trained_classifier.load_trained

    def load_once(saved: Any, settings: Any) -> Any:
        key = saved.weights_file.stat().st_ino
        if key not in loaded:
            loaded[key] = load(saved, settings)
        return loaded[key]

    monkeypatch.setattr(trained_classifier, "load_trained", load_once)


@pytest.fixture
def exported(finished_runs, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that exports the fine-tuned run into a folder of the test's own."""

    def run(**keys: Any) -> Path:
        outputs = finished_runs.commands.outputs
        asked = {
            "model": finished_runs.finetuned.result()["run_id"], "format": "openvino", "output": str(tmp_path / "out"),
            "outputs": str(outputs), "tracking_uri": f"sqlite:///{outputs}/mlflow.db", "images": 8, **keys,
        }  # fmt: skip
        tool.export(ExportConfig(**asked))
        return tmp_path / "out"

    return run


def check(folder: Path) -> tuple[int, str]:
    """Run check.py as a stranger does: in a process of its own, from somewhere else."""
    done = subprocess.run(
        [sys.executable, "-P", str(folder / "check.py")],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout


def test_an_export_has_its_record_its_classes_and_a_canary_that_sings(exported, finished_runs, capsys) -> None:
    folder = exported()
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "canary", "check.py", "classes.json", "export.json", "model.bin", "model.xml",
    ]  # fmt: skip
    result = finished_runs.finetuned.result()
    record = json.loads((folder / "export.json").read_text())
    assert json.loads((folder / "classes.json").read_text()) == record["classes"] == ["apple", "lime", "sky"]
    for key in ("run_id", "weights_sha256", "graph_sha256"):
        assert record[key] == result[key]
    assert (record["format"], record["precision"], record["agreement"]) == ("openvino", "float32", 1.0)
    assert record["max_probability_difference"] < 1e-4
    assert record["accuracy_export"] == record["accuracy_network"]
    assert record["bytes"] == sum((folder / name).stat().st_size for name in ("model.xml", "model.bin"))
    assert set(record["latency_ms"]) == {"1", "32"}
    count = record["test_images_of_the_run"]
    assert (record["images"], record["differ"]) == (min(count, 8), 0)
    assert f"agreement 1.0000: {record['images']} of {record['images']} test images" in capsys.readouterr().out

    assert check(folder) == (0, "OK\n")
    spoil_the_canary(folder)
    code, said = check(folder)
    assert code == 1
    assert {line.split(":")[0] for line in said.splitlines()} == {"2.png", "3.png"}
    assert "2.png: the pixels differ by " in said
    assert "3.png: the probabilities differ by up to " in said


def spoil_the_canary(folder: Path) -> None:
    """Swap the colours of the second picture, and expect another class of the third."""
    picture = folder / "canary" / "2.png"
    Image.fromarray(np.asarray(Image.open(picture))[..., ::-1].copy()).save(picture)
    file = folder / "canary" / "expected.json"
    expected = json.loads(file.read_text())
    assert list(expected["pictures"]) == ["1.jpg", "2.png", "3.png"]
    expected["pictures"]["3.png"] = expected["pictures"]["3.png"][1:] + expected["pictures"]["3.png"][:1]
    file.write_text(json.dumps(expected))


def shrunk(images: Any) -> Any:
    """Show the middle of each image alone, as a program that crops where it should squash."""
    size = images.shape[1]
    cropped = [Image.fromarray(image[: size // 8, : size // 8]) for image in images]
    return np.stack([np.asarray(image.resize((size, size), Image.Resampling.NEAREST)) for image in cropped])


SPOILT: dict[str, Callable[[Any, Any], Any]] = {
    "BGR": lambda run, images: run(images[..., ::-1]),
    "other resize": lambda run, images: run(shrunk(images)),
    "shifted classes": lambda run, images: np.roll(run(images), 1, axis=1),
    "already scaled": lambda run, images: run((images // 255).astype(np.uint8)),
    "nan": lambda run, images: run(images) * np.nan,
}


@pytest.mark.parametrize("how", SPOILT)
def test_an_export_that_was_spoilt_is_refused_and_leaves_nothing(
    how: str, exported, loaded, tmp_path, monkeypatch
) -> None:
    """Its runtime computes what a wrong export would; the file itself is Keras's own, for speed."""

    def spoilt(folder: Path) -> Any:
        (classifier,) = loaded.values()
        return lambda images: SPOILT[how](tool._kept_network(classifier), images)

    row = dataclasses.replace(export_formats.FORMATS["keras"], load=spoilt)
    monkeypatch.setitem(export_formats.FORMATS, "keras", row)
    with pytest.raises(UserError, match="is refused") as refused:
        exported(format="keras", images=12)
    if how != "nan":
        assert ".jpg: " in str(refused.value).splitlines()[1]
    assert list(tmp_path.iterdir()) == []


def test_images_that_are_gone_or_have_changed_are_said_to_be(exported, finished_runs, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(finished_runs.photos, photos)
    manifest = Path(finished_runs.finetuned.result()["model"]).parent.parent / "manifest.csv"
    rows = [row for row in csv.DictReader(manifest.open()) if row["split"] == "test"]
    for row in rows:
        Image.new("RGB", (8, 8)).save(photos / row["path"])
    with pytest.raises(
        UserError, match=r"images of the network's run are no longer in .*photos, or have other content"
    ):
        exported(data=str(photos))
    with pytest.raises(UserError, match="absent"):
        exported(data=str(tmp_path / "absent"))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_export_is_left_alone(exported, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(UserError, match="is no export of thaw's"):
        exported(overwrite=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]

"""Images on which settings disagree: which, in which order, with what each said, and their pictures."""

import dataclasses
import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thaw.compare import disagreements
from thaw.compare.compared_run import ManifestImage, Prediction
from thaw.compare.disagreements import Answer
from thaw.compare.run_comparison import compare_runs

from .made_runs import images, made_run, rights


def found(*runs, **options):
    return compare_runs(runs, **options).disagreements


def test_the_surest_contradiction_comes_first_and_agreement_is_left_out() -> None:
    a = made_run(rights("10011"), run_id="a", recipe="bottleneck", confidence=[0.5, 0.9, 0.6, 0.9, 0.9])
    b = made_run(rights("01001"), run_id="b", confidence=[0.8, 0.7, 0.9, 0.95, 0.9])
    both_wrong = dict(a.predictions) | {"cat0002": Prediction("fox", 0.99, 0.0)}
    entries = found(dataclasses.replace(a, predictions=both_wrong), b)
    assert [entry.image.name for entry in entries.shown] == [
        f"test/cat/{number}.jpg" for number in ("0003", "0001", "0000", "0002")
    ]
    assert [entry.decides for entry in entries.shown] == [True, True, True, False]
    assert entries.shown[0].answers == {0: Answer("cat", True, 0.9, 1, 1), 1: Answer("dog", False, 0.95, 1, 1)}
    assert entries.total == 4


def test_of_several_runs_most_decide() -> None:
    seeds = [made_run(rights(text), run_id=f"s{i}", seed=i, confidence=[0.5 + 0.1 * i])
             for i, text in enumerate("110")]  # fmt: skip
    other = made_run(rights("0"), run_id="b", recipe="scratch")
    (entry,) = found(*seeds, other).shown
    assert entry.answers[0] == Answer("cat", True, pytest.approx(0.55), 2, 3)


def test_no_more_are_shown_than_a_page_holds() -> None:
    entries = found(made_run([True] * 60, run_id="a"), made_run([False] * 60, run_id="b", recipe="scratch"))
    assert (len(entries.shown), entries.total) == (40, 60)
    assert found(made_run([True], run_id="a"), made_run([True], run_id="b", recipe="scratch")).total == 0


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for label, shade in (("cat", 50), ("dog", 200)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (400, 200), (shade, i, 0)).save(tmp_path / "photos" / label / f"{i}.png")
    return tmp_path / "photos"


def runs_on(photos: Path, test: list[ManifestImage]):
    runs = [
        made_run([True] * len(test), run_id="a", test=test),
        made_run([False] * len(test), run_id="b", recipe="scratch", test=test),
    ]
    for run in runs:
        run.config.dataset.path = photos.name
        run.stored.tags["thaw.cwd"] = str(photos.parent)
    return runs


def test_pictures_are_those_of_the_files_where_they_have_not_changed(photos: Path) -> None:
    files = [photos / "cat" / "0.png", photos / "cat" / "1.png"]
    test = [
        ManifestImage(f"cat/{file.name}", hashlib.sha256(file.read_bytes()).hexdigest(), "cat", "test")
        for file in files
    ]
    test.append(ManifestImage("cat/gone.png", "gone", "cat", "test"))
    Image.new("RGB", (40, 20)).save(files[1])
    entries = found(*runs_on(photos, test))
    pictures = {entry.image.name: entry.jpeg for entry in entries.shown}
    assert pictures["cat/1.png"] is None
    assert pictures["cat/gone.png"] is None
    assert entries.note == "2 of these files are gone or have changed since: names only."
    picture = Image.open(io.BytesIO(pictures["cat/0.png"] or b""))
    assert picture.size == (160, 80)
    assert np.asarray(picture).mean(axis=(0, 1)) == pytest.approx([50, 0, 0], abs=6)


def test_without_the_data_set_there_are_names_only(tmp_path: Path) -> None:
    entries = found(*runs_on(tmp_path / "photos", images(2)))
    assert [entry.jpeg for entry in entries.shown] == [None, None]
    assert entries.note == "The data set is no longer where the runs read it: names only."


def test_a_data_set_that_is_no_longer_one_leaves_names_only(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    assert found(*runs_on(tmp_path / "photos", images(2))).note.startswith("The data set can no longer be read (")


def test_nothing_is_downloaded_for_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disagreements, "load_named_catalog", lambda _: pytest.fail("it would be downloaded"))
    runs = runs_on(Path("/nowhere/photos"), images(1))
    for run in runs:
        run.config.dataset.name, run.config.dataset.path = "cifar10", None
    assert "names only" in found(*runs).note

"""Runs are evaluated again on the first one's test images, but not on what a network has seen."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from thaw.common.errors import UserError
from thaw.compare import reevaluation
from thaw.compare.compared_run import ComparedRun, ManifestImage, Prediction
from thaw.compare.run_comparison import compare_runs

from .made_runs import images, made_run, rights


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(3):
            (tmp_path / "photos" / label / f"{i}.jpg").write_bytes(f"{label}{i}".encode())
    return tmp_path / "photos"


@pytest.fixture
def runs(photos: Path) -> list[ComparedRun]:
    """The first was tested on three of the files; the second on other images."""
    test = [
        ManifestImage(f"cat/{i}.jpg", hashlib.sha256(f"cat{i}".encode()).hexdigest(), "cat", "test") for i in range(3)
    ]
    first = made_run(rights("110"), run_id="a" * 32, recipe="bottleneck", test=test)
    first.config.dataset.path = str(photos)
    return [first, made_run(rights("1111"), run_id="b" * 32, test=images(4))]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """What each run has seen, by its id; every network says "cat" of everything."""
    by_run: dict[str, set[str]] = {}
    monkeypatch.setattr(
        reevaluation, "read_training_record", lambda run, *_: SimpleNamespace(images=by_run.get(run, set()))
    )
    said = Prediction("cat", 0.9, 0.9)
    monkeypatch.setattr(reevaluation, "_predict", lambda run, images, files: dict.fromkeys(images, said))
    return by_run


def again(runs: list[ComparedRun]):
    return reevaluation.evaluate_again(runs, Path("outputs"), "sqlite:///x.db")


def test_only_runs_that_were_tested_on_others_are_evaluated(runs, seen) -> None:
    evaluated, remarks = again(runs)
    assert evaluated[0].predictions == runs[0].predictions
    assert set(evaluated[1].predictions) == set(runs[0].test_images)
    assert remarks == ["Compared on the test images of aaaaaaaa. Evaluated again: 1 of 2 runs."]
    (pair,) = compare_runs(evaluated).pairs
    assert (pair.difference.images, pair.difference.only_a, pair.difference.only_b) == (3, 0, 1)


def test_what_a_network_has_seen_is_left_out_for_all(runs, seen) -> None:
    seen["b" * 32] = {hashlib.sha256(b"cat1").hexdigest()}
    evaluated, remarks = again(runs)
    assert [len(run.predictions) for run in evaluated] == [2, 2]
    assert "Left out: 1 images that one of the networks saw in its training or validation." in remarks[0]
    seen["b" * 32] = set(runs[0].test_images)
    with pytest.raises(
        UserError, match="all 3 test images of the first run, aaaaaaaa, were seen by another run's netw"
    ):
        again(runs)


def test_a_file_that_is_another_one_now_is_refused(runs, seen, photos: Path) -> None:
    (photos / "cat" / "1.jpg").write_bytes(b"changed")
    with pytest.raises(UserError, match=r"the test image cat/1\.jpg of run aaaaaaaa is another one now"):
        again(runs)
    (photos / "cat" / "1.jpg").unlink()
    with pytest.raises(UserError, match=r"the test image cat/1\.jpg of run aaaaaaaa is gone"):
        again(runs)


def test_a_data_set_that_is_gone_is_refused(runs, seen, photos: Path) -> None:
    photos.rename(photos.with_name("elsewhere"))
    with pytest.raises(UserError, match="the data set of run aaaaaaaa is no longer where it was read"):
        again(runs)

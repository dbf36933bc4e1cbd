"""The file of the head alone: what it holds, of whom, and which images it samples. No TensorFlow."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from thaw.common.errors import UserError
from thaw.training.head_snapshot import (
    FILE_NAME,
    head_stage,
    load_head_alone,
    load_head_features,
    sample_rows,
    save_head_alone,
)

RNG = np.random.default_rng(0)
PROBABILITIES = {"val": RNG.random((5, 3), np.float32), "test": RNG.random((7, 3), np.float32)}
FEATURES = np.array([[0.5, 1e9], [-1e9, 0.25]], np.float32)
ROWS = np.array([4, 1])


def save(folder: Path, run_id: str = "run", features: np.ndarray | None = FEATURES) -> Path:
    stage = SimpleNamespace(number=0)
    result = SimpleNamespace(stage=stage, probabilities=PROBABILITIES, sampled_features=features)
    save_head_alone(folder, run_id, "data", result, ROWS)
    return folder / FILE_NAME


def test_probabilities_and_features_come_back_bit_for_bit_and_numpy_opens_the_file(tmp_path: Path) -> None:
    file = save(tmp_path)
    loaded = load_head_alone(tmp_path, "run", "data")
    assert loaded is not None
    assert {split: values.tobytes() for split, values in loaded.items()} == {
        split: values.tobytes() for split, values in PROBABILITIES.items()
    }
    sampled = load_head_features(tmp_path, "run")
    assert sampled is not None
    assert sampled.rows.tolist() == [4, 1]
    assert sampled.features.tolist() == [[0.5, 65504.0], [-65504.0, 0.25]], "to 16 bits, and never infinite"
    with np.load(file) as opened:
        arrays = {"array/probabilities/val", "array/probabilities/test", "array/rows", "array/features"}
        assert set(opened.files) == {"head", "sha256", *arrays}, "names that are data"
        assert opened["array/probabilities/test"].tobytes() == PROBABILITIES["test"].tobytes()
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_the_same_stage_writes_the_same_bytes_again(tmp_path: Path) -> None:
    first = save(tmp_path).read_bytes()
    assert save(tmp_path).read_bytes() == first


def test_without_cached_features_it_has_the_probabilities_alone(tmp_path: Path) -> None:
    save(tmp_path, features=None)
    assert load_head_alone(tmp_path, "run") is not None
    assert load_head_features(tmp_path, "run") is None


def test_a_file_that_is_absent_damaged_of_another_run_or_of_other_data_is_none(tmp_path: Path) -> None:
    assert load_head_alone(tmp_path, "run") is None
    file = save(tmp_path)
    assert load_head_alone(tmp_path, "another") is None
    assert load_head_alone(tmp_path, "run", "other data") is None
    content = bytearray(file.read_bytes())
    content[content.index(PROBABILITIES["test"].tobytes()) + 3] ^= 1
    file.write_bytes(content)
    assert load_head_alone(tmp_path, "run") is None
    assert load_head_features(tmp_path, "run") is None
    file.write_bytes(content[:100])
    assert load_head_alone(tmp_path, "run") is None


def test_a_full_disk_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"head_alone\.npz cannot be written: No such file .* then resume from there"):
        save(tmp_path / "gone")


@pytest.mark.parametrize(
    ("all_frozen", "expected"),
    [([True, False], 0), ([True, True, False, True], 1), ([True], None), ([False], None), ([False, True], None)],
)
def test_the_head_alone_is_the_network_when_the_first_layer_thaws(all_frozen: list[bool], expected: int | None) -> None:
    planned = [SimpleNamespace(plan=SimpleNamespace(all_frozen=frozen)) for frozen in all_frozen]
    assert head_stage(planned) == expected


def test_a_sample_holds_every_class_by_its_share_and_so_does_its_beginning() -> None:
    labels = np.repeat(np.arange(4, dtype=np.int32), [600, 300, 99, 1])
    rows = sample_rows(labels, 100)
    assert len(set(rows.tolist())) == 100
    assert np.bincount(labels[rows]).tolist() == [59, 30, 10, 1]
    assert np.bincount(labels[rows[:14]], minlength=4).tolist() == [7, 4, 2, 1]
    assert sample_rows(labels, 100).tolist() == rows.tolist()
    assert sorted(sample_rows(labels[::2])) == list(range(500))


def test_of_more_classes_than_the_sample_holds_each_has_one_image_at_most() -> None:
    labels = np.arange(50, dtype=np.int32) % 25
    assert np.bincount(labels[sample_rows(labels, 20)]).max() == 1


def test_a_run_keeps_what_its_head_stage_was_validated_with(finished_runs) -> None:
    """The accuracy of the file is the one that the stage's last epoch printed, and the later stage changed the rest."""
    run = finished_runs.finetuned
    folder = Path(run.result()["model"]).parents[1]
    with (folder / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    labels = {split: [int(row["class"]) for row in rows if row["split"] == split] for split in ("val", "test")}
    alone = load_head_alone(folder, run.result()["run_id"], run.result()["data_sha256"])
    assert alone is not None
    accuracy = float(np.mean(alone["val"].argmax(axis=1) == labels["val"]))
    history = json.loads((folder / "report" / "history.json").read_text())
    assert accuracy == pytest.approx([entry["val_accuracy"] for entry in history if entry["stage"] == "head"][-1])
    assert alone["test"].shape == (len(labels["test"]), 3)
    features = load_head_features(folder, run.result()["run_id"])
    assert features is not None
    assert sorted(features.rows) == list(range(len(labels["test"])))
    assert features.features.shape == (len(labels["test"]), 1280)
    bottleneck = Path(finished_runs.bottleneck.result()["model"]).parents[1]
    assert not (bottleneck / FILE_NAME).exists()

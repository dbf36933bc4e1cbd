"""The file of the head alone: what it holds, of whom, and which images it samples. No TensorFlow."""

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
    assert sorted(sample_rows(labels)) == list(range(1000))


def test_of_more_classes_than_the_sample_holds_each_has_one_image_at_most() -> None:
    labels = np.arange(50, dtype=np.int32) % 25
    assert np.bincount(labels[sample_rows(labels, 20)]).max() == 1

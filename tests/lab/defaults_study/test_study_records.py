"""The table of a study of recipes, and the data sets that are made for it. No TensorFlow."""

from pathlib import Path

from thaw_lab.defaults_study.study_data import data_sets
from thaw_lab.defaults_study.study_records import StudyRecord, append_record, read_records, table


def record(data: str, candidate: str, seed: int, val: float, test: float) -> StudyRecord:
    return StudyRecord(data, candidate, f"head={candidate}", seed, val, test, 10.0 * (1 + seed), 50.0)


def test_candidates_are_ranked_by_validation_and_reported_by_test() -> None:
    records = [
        record("clothing", "a", 0, 0.90, 0.80), record("clothing", "a", 1, 0.80, 0.90),
        record("clothing", "b", 0, 0.70, 0.95), record("clothing", "b", 1, 0.80, 0.95),
        record("digits", "a", 0, 0.5, 0.6), record("digits", "b", 0, 0.5, 0.7),
        record("cifar", "a", 0, 0.1, 0.2),
    ]  # fmt: skip
    assert table(records, ["a", "b"], ["clothing", "digits", "cifar"]) == [
        ["a", "0.850 ± 0.071", "0.600", "0.200", "1.2", "12"],
        ["b", "0.950 ± 0.000", "0.700", "", "1.8", "12"],
    ]


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    assert read_records(file) == []
    written = [record("digits", "a", seed, 0.5, 0.25) for seed in range(2)]
    for each in written:
        append_record(file, each)
    assert read_records(file) == written


def test_small_data_sets_are_links_to_the_same_images_each_time(tmp_path: Path) -> None:
    for split, count in (("train", 30), ("test", 120)):
        for name in ("clothing", "cifar10"):
            folder = tmp_path / name / split / "shirt"
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{i}.jpg").write_text(str(i))
    data_sets(tmp_path)
    counts = {
        str(path.relative_to(tmp_path / "study")): len(list(path.iterdir()))
        for path in (tmp_path / "study").glob("*/*/shirt")
    }
    assert counts == {
        "clothing-few/train/shirt": 20, "clothing-few/test/shirt": 120, "cifar10-few/train/shirt": 20,
        "cifar10-few/test/shirt": 100, "cifar10-500/train/shirt": 30, "cifar10-500/test/shirt": 120,
    }  # fmt: skip
    drawn = sorted(path.name for path in (tmp_path / "study/clothing-few/train/shirt").iterdir())
    data_sets(tmp_path)
    assert sorted(path.name for path in (tmp_path / "study/clothing-few/train/shirt").iterdir()) == drawn

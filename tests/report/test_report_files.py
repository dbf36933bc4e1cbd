"""What a report leaves in its folder."""

import csv
import dataclasses
import json
import re

import numpy as np
import pytest
from PIL import Image

from thaw.report.report_files import write_report

from .made_content import CLASSES, make_content, make_split

HOSTILE = (
    "</script><img src=x onerror=alert(1)>", "=cmd|'/c calc'!A1", "<!--<script>", "null", "__proto__", "a.b[0]\"'\\",
    "line\nbreak", "caf\udce9", "مرحبا", "🦊" * 3, "x" * 250, "{{ 7*7 }}",
)  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    content, folder = make_content(), tmp_path_factory.mktemp("report")
    return content, folder, write_report(content, folder, "short")


def test_a_short_report_is_the_page_the_numbers_and_the_tables(written):
    _, folder, files = written
    names = ["report.html", "figures.json", "classes.csv", "confusions.csv", "calibration.csv"]
    assert [file.name for file in files] == names
    assert sorted(file.name for file in folder.iterdir()) == sorted(names)


def test_a_full_report_has_pictures_for_slides(tmp_path):
    write_report(make_content(), tmp_path, "full")
    pictures = sorted(tmp_path.glob("*.png"))
    assert [file.stem for file in pictures] == [
        "confusion", "curves", "features-after", "features-before", "freeze-plan", "gallery-augmented",
        "gallery-doubtful", "gallery-grad-cam", "gallery-mistakes", "per-class", "precision-recall", "reliability",
        "roc",
    ]  # fmt: skip
    for file in pictures:
        with Image.open(file) as picture:
            assert picture.width >= 480, file.name
            assert np.asarray(picture.convert("L")).std() > 5, f"{file.name} is empty"


def test_another_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match="full or short"):
        write_report(make_content(), tmp_path, "long")


def test_figures_json_has_the_numbers_of_the_content(written):
    content, folder, _ = written
    figures = json.loads((folder / "figures.json").read_text())
    test, val = content.splits
    assert [split["name"] for split in figures["splits"]] == ["test", "val"]
    for split, stored in zip((test, val), figures["splits"], strict=True):
        assert stored == json.loads(json.dumps(dataclasses.asdict(split)))
    assert figures["history"] == [dict(epoch) for epoch in content.history]
    assert figures["seconds"] == content.seconds
    assert figures["best_epochs"][1] == dataclasses.asdict(content.best_epochs[1])
    assert figures["galleries"][0]["images"][3]["probability"] == content.galleries[0].images[3].probability
    assert len(figures["feature_maps"][0]["points"]) == 300


def test_a_number_that_is_none_is_null(tmp_path):
    split = dataclasses.replace(make_split(np.diag([3, 0]), ("a", "b")), macro_f1=float("nan"))
    write_report(make_content(splits=[split]), tmp_path, "short")
    stored = json.loads((tmp_path / "figures.json").read_text())["splits"][0]
    assert stored["macro_f1"] is None
    assert stored["classes"][1]["recall"] == {"value": None, "low": None, "high": None}


def test_confusions_of_many_classes_are_stored_without_zeros(tmp_path):
    confusion = np.diag(np.full(101, 5))
    confusion[7, 90] = 3
    names = [f"class {i}" for i in range(101)]
    write_report(make_content(names, splits=[make_split(confusion, names)]), tmp_path, "short")
    stored = json.loads((tmp_path / "figures.json").read_text())["splits"][0]["confusion"]
    assert len(stored) == 102
    assert [7, 90, 3] in stored


def test_tables_have_a_row_for_each_class_pair_and_bin(written):
    content, folder, _ = written
    test = content.splits[0]
    classes = read(folder / "classes.csv")
    assert [row["class"] for row in classes] == [*CLASSES, *CLASSES]
    assert float(classes[3]["recall"]) == pytest.approx(test.classes[3].recall.value, abs=1e-5)
    pairs = [row for row in read(folder / "confusions.csv") if row["split"] == "test"]
    assert sum(int(row["count"]) for row in pairs) == test.images - sum(c.correct for c in test.classes)
    assert (pairs[0]["true"], pairs[0]["predicted"]) == (test.pairs[0].true, test.pairs[0].predicted)
    bins = read(folder / "calibration.csv")
    assert len(bins) == 2 * 2 * 15
    assert bins[0]["accuracy"] == ""  # no image in it


def test_two_classes_have_a_table_of_thresholds(tmp_path):
    write_report(make_content(("cat", "dog")), tmp_path, "short")
    assert len(read(tmp_path / "thresholds.csv")) == 2 * 19


def test_names_are_text_whatever_they_hold(tmp_path):
    write_report(make_content(HOSTILE), tmp_path, "short")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "49" not in re.findall(r"<bdi>(.*?)</bdi>", page)
    scripts = re.findall(r"<script[^>]*>", page)
    assert page.count("</script>") == len(scripts)
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;" in page
    assert "line\\nbreak" in page
    assert read(tmp_path / "classes.csv")[1]["class"].startswith("'=cmd")


def read(path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))

"""Data against a manifest, file by file."""

import csv
import io

from thaw.reproduce.manifest_check import FileDifference, compare_manifests, count_by_kind, differences_csv


def row(path, sha256, label="a", split="train", verdict="ok"):
    return {"path": path, "sha256": sha256, "label": label, "split": split, "verdict": verdict}


BEFORE = [row("a/1.png", "1"), row("a/2.png", "2"), row("b/3.png", "3", "b"), row("b/4.png", "4", "b", "test")]


def compare(now, there=()):
    return compare_manifests(BEFORE, now, {entry["path"] for entry in now} | set(there))


def test_the_same_data_in_another_order_differs_in_nothing():
    assert compare(BEFORE[::-1]) == []


def test_every_kind_is_named_with_its_file():
    now = [
        row("a/1.png", "9"),  # another content
        row("b/2.png", "2", "b"),  # moved to another class's folder
        row("b/3.png", "3", "c", "val"),  # a table gave it another class, and with it another split
        row("a/5.png", "5"),
    ]
    assert compare(now) == [
        FileDifference("a/1.png", "changed", "1", "9"),
        FileDifference("b/4.png", "missing"),
        FileDifference("a/2.png", "moved", "a/2.png", "b/2.png"),
        FileDifference("a/5.png", "new"),
        FileDifference("b/3.png", "class", "b", "c"),
        FileDifference("b/3.png", "split", "train", "val"),
    ]
    assert list(count_by_kind(compare(now)).items()) == [(entry.kind, 1) for entry in compare(now)]


def test_a_file_that_is_there_and_no_longer_used_is_not_missing():
    assert compare(BEFORE[1:], there=["a/1.png"]) == [FileDifference("a/1.png", "unused")]


def test_a_copy_of_what_is_still_there_is_new():
    assert compare([*BEFORE, row("a/6.png", "1")]) == [FileDifference("a/6.png", "new")]


def test_what_became_bad_is_one_difference():
    now = [*BEFORE[:3], row("b/4.png", "4", "b", "", "truncated")]
    assert compare(now) == [FileDifference("b/4.png", "verdict", "ok", "truncated")]


def test_the_list_holds_any_name():
    name = "a/caf\udce9,\r\n.png"
    lines = differences_csv(compare_manifests([row(name, "1")], [row(name, "2")], [name]))
    assert list(csv.DictReader(io.StringIO(lines, newline=""))) == [
        {"path": name, "what": "changed", "before": "1", "now": "2"}
    ]

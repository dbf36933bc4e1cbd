"""The table of groups, beside what the source itself assigns; and the short tables in the terminal."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from thaw.common.csv_text import csv_text
from thaw.config.schema import DatasetConfig
from thaw.data import dataset_table
from thaw.data.catalog import TEST, TRAIN, UNASSIGNED, Catalog
from thaw.explore import csv_tables
from thaw.explore.csv_tables import GROUP_COLUMNS, group_rows
from thaw.explore.near_duplicates import SimilarPair


def splits_and_groups(
    assigned: list[int], pairs: list[tuple[int, int]], groups: tuple[str, ...] | None = None
) -> list[tuple[str, str]]:
    count = len(assigned)
    paths = tuple(f"/data/{i}.png" for i in range(count))
    labels, splits = np.zeros(count, np.int32), np.array(assigned, np.int8)
    images = SimpleNamespace(
        pixels=SimpleNamespace(
            catalog=Catalog(paths, paths, None, labels, ("a", "b"), splits, groups), indices=np.arange(count)
        ),
        path=lambda row: paths[row],
        class_name=lambda row: "a",
    )
    return [(split, group) for _, _, split, group in group_rows(images, [SimilarPair(*pair, 0.99) for pair in pairs])]


def test_pictures_that_are_alike_directly_or_through_others_form_one_group() -> None:
    groups = [group for _, group in splits_and_groups([UNASSIGNED] * 5, [(0, 1), (1, 3)])]
    assert groups[0] == groups[1] == groups[3] != ""
    assert groups[2] == groups[4] == ""


def test_images_assigned_to_two_splits_are_not_grouped_and_unassigned_ones_join_a_group() -> None:
    rows = splits_and_groups([TRAIN, TEST, UNASSIGNED, TRAIN], [(0, 1), (1, 2), (0, 3)])
    assert [split for split, _ in rows] == ["train", "test", "", "train"]
    groups = [group for _, group in rows]
    assert groups[0] == groups[3] != groups[1]
    assert groups[1] == groups[2] != ""


def test_the_sources_own_groups_stay_and_grow() -> None:
    groups = [group for _, group in splits_and_groups([UNASSIGNED] * 4, [(1, 2)], ("x", "x", "", "y"))]
    assert groups[0] == groups[1] == groups[2] != ""
    assert groups[3] not in ("", groups[0])


def test_the_table_of_files_with_any_name_is_read_as_a_data_set(tmp_path: Path) -> None:
    names = ("caf\udce9.png", "a\rb.png", 'two\nlines, "quoted".png', " spaces .png")
    for name in names:
        (tmp_path / name).write_bytes(b"")
    rows = [(str(tmp_path / name), "ab"[i % 2], "", "") for i, name in enumerate(names)]
    table = tmp_path / "groups.csv"
    table.write_text(csv_text(GROUP_COLUMNS, rows), encoding="utf-8", errors="surrogateescape", newline="")
    assert set(dataset_table.load_named_catalog(DatasetConfig(name="csv", path=str(table))).names) == set(names)


@pytest.mark.parametrize(
    ("classes", "title"),
    [(19, None), (20, None), (21, "the largest and smallest of 21 classes")],
)
def test_the_table_of_classes_says_so_when_it_shows_some_of_them(classes, title, monkeypatch) -> None:
    rows = [SimpleNamespace(name=f"c{i}", count=i, splits={}, findings=0) for i in range(classes)]
    monkeypatch.setattr(csv_tables, "class_rows", lambda images, findings: rows)
    monkeypatch.setattr(csv_tables, "used_splits", lambda images: [])
    table = csv_tables.class_table(SimpleNamespace(), [])
    assert table.title == title
    assert table.row_count == min(classes, 20)

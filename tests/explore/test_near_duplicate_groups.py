"""Near duplicates as groups, beside what the source itself gives."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from thaw.common.csv_text import csv_text
from thaw.config.schema import DatasetConfig
from thaw.data import sources
from thaw.data.catalog import TEST, TRAIN, UNASSIGNED, Catalog
from thaw.explore.near_duplicate_groups import GROUP_COLUMNS, group_rows
from thaw.explore.neighbors import SimilarPair


def table(given: list[int], pairs: list[tuple[int, int]], groups: tuple[str, ...] | None = None) -> list[tuple]:
    count = len(given)
    paths = tuple(f"/data/{i}.png" for i in range(count))
    catalog = Catalog(paths, paths, None, np.zeros(count, np.int32), ("a", "b"), np.array(given, np.int8), groups)
    pictures = SimpleNamespace(
        pixels=SimpleNamespace(catalog=catalog, indices=np.arange(count)),
        path=lambda i: paths[i],
        class_name=lambda i: "a",
    )
    return [(split, group) for _, _, split, group in group_rows(pictures, [SimilarPair(*pair, 0.99) for pair in pairs])]


def test_pictures_that_are_alike_directly_or_through_others_form_one_group() -> None:
    found = table([UNASSIGNED] * 5, [(0, 1), (1, 3)])
    groups = [group for _, group in found]
    assert groups[0] == groups[1] == groups[3] != ""
    assert groups[2] == groups[4] == ""


def test_what_the_source_gives_to_two_splits_is_not_tied_and_the_free_go_along() -> None:
    found = table([TRAIN, TEST, UNASSIGNED, TRAIN], [(0, 1), (1, 2), (0, 3)])
    assert [split for split, _ in found] == ["train", "test", "", "train"]
    groups = [group for _, group in found]
    assert groups[0] == groups[3] != groups[1]
    assert groups[1] == groups[2] != ""


def test_the_sources_own_groups_stay_and_grow() -> None:
    groups = [group for _, group in table([UNASSIGNED] * 4, [(1, 2)], ("x", "x", "", "y"))]
    assert groups[0] == groups[1] == groups[2] != ""
    assert groups[3] not in ("", groups[0])


def test_the_table_of_files_with_any_name_is_read_as_a_data_set(tmp_path: Path) -> None:
    names = ("caf\udce9.png", "a\rb.png", 'two\nlines, "quoted".png', " spaces .png")
    for name in names:
        (tmp_path / name).write_bytes(b"")
    made = [(str(tmp_path / name), "ab"[i % 2], "", "") for i, name in enumerate(names)]
    table = tmp_path / "groups.csv"
    table.write_text(csv_text(GROUP_COLUMNS, made), encoding="utf-8", errors="surrogateescape", newline="")
    assert set(sources.load_catalog(DatasetConfig(name="csv", path=str(table))).names) == set(names)

"""The short tables in the terminal."""

from types import SimpleNamespace

import pytest

from thaw.explore import csv_tables


@pytest.mark.parametrize(
    ("classes", "title"),
    [(19, None), (20, None), (21, "the largest and smallest of 21 classes")],
)
def test_the_table_of_classes_says_so_when_it_shows_some_of_them(classes, title, monkeypatch) -> None:
    rows = [SimpleNamespace(name=f"c{i}", count=i, splits={}, findings=0) for i in range(classes)]
    monkeypatch.setattr(csv_tables, "class_rows", lambda pictures, found: rows)
    monkeypatch.setattr(csv_tables, "used_splits", lambda pictures: [])
    table = csv_tables.class_table(SimpleNamespace(), [])
    assert table.title == title
    assert table.row_count == min(classes, 20)

import csv
import io

import pytest

from thaw.csv_text import csv_text


@pytest.mark.parametrize("name", ["a\rb.png", "a\r\n.png", "a\r", "a\nb", 'a "b", c', "caf\udce9.png", " a "])
def test_any_name_of_a_file_is_read_as_it_was_written(name, tmp_path):
    file = tmp_path / "list.csv"
    file.write_text(csv_text(("path", "n"), [(name, 1), ("b", name)]), "utf-8", "surrogateescape", newline="")
    with file.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
        assert list(csv.reader(lines, strict=True)) == [["path", "n"], [name, "1"], ["b", name]]


def test_lines_end_in_a_newline_alone():
    assert csv_text(("a", "b"), [(1, "x"), (2, "y")]) == "a,b\n1,x\n2,y\n"
    assert list(csv.reader(io.StringIO(csv_text(("a",), [])))) == [["a"]]

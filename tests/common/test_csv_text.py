import csv
import io
import itertools
import re
from pathlib import Path

import pytest

from thaw.common import csv_text as module
from thaw.common.csv_text import csv_text, spreadsheet_text

SRC = Path(__file__).parents[2] / "src" / "thaw"


@pytest.mark.parametrize("name", ["a\rb.png", "a\r\n.png", "a\r", "a\nb", 'a "b", c', "caf\udce9.png", " a "])
def test_any_name_of_a_file_is_read_as_it_was_written(name, tmp_path):
    file = tmp_path / "list.csv"
    file.write_text(csv_text(("path", "n"), [(name, 1), ("b", name)]), "utf-8", "surrogateescape", newline="")
    with file.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
        assert list(csv.reader(lines, strict=True)) == [["path", "n"], [name, "1"], ["b", name]]


def test_lines_end_in_a_newline_alone():
    assert csv_text(("a", "b"), [(1, "x"), (2, "y")]) == "a,b\n1,x\n2,y\n"
    assert list(csv.reader(io.StringIO(csv_text(("a",), [])))) == [["a"]]


FORMULAS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-x.jpg",
    "@cmd",
    "\t=1",
    "\r=1",
    "\n=1",
    "=HYPERLINK(a)",
    "-",
    "＝1",
    "－1+1",
]


@pytest.mark.parametrize("name", FORMULAS)
def test_no_name_is_a_formula_in_a_list_for_people(name):
    (row,) = list(csv.reader(io.StringIO(spreadsheet_text(("a", "b", "c"), [(name, 1, "x")]), newline="")))[1:]
    assert row[0].startswith("'")
    assert [cell.replace("'", "") for cell in row] == [name.replace("'", ""), "1", "x"]


@pytest.mark.parametrize(
    "cell", [-0.5, 7, "-0.5", "-1", "+3", "1e-5", "-1e-05", "-inf", "", "x=1", "a-b", "'", "'a", None]
)
def test_numbers_and_other_texts_stay_in_a_list_for_people(cell):
    assert spreadsheet_text(("a", "b"), [(cell, "x")]) == csv_text(("a", "b"), [(cell, "x")])


SEPARATED = [
    "a;=HYPERLINK(1)9.png",
    "a; =1",
    '"; =1',
    'a";=1',
    'a;"=1"',
    "a;'=1",
    "a\t=1",
    "a|-1",
    "a\n@x",
    ";＝1",
    '";"=1',
]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", [*SEPARATED, *FORMULAS])
def test_no_name_is_a_formula_to_those_who_split_cells_elsewhere(name, delimiter):
    listing = spreadsheet_text(("a", "b", "c"), [(name, "x", name), ("x", name, name)])
    for cell in itertools.chain(*csv.reader(io.StringIO(listing, newline=""), delimiter=delimiter)):
        assert not re.match(r"[\s\"]*[=+\-@＝－]", cell), cell


@pytest.mark.parametrize("name", SEPARATED)
def test_a_separator_in_a_name_makes_no_other_cell_in_commas(name):
    (row,) = list(csv.reader(io.StringIO(spreadsheet_text(("a", "b"), [(name, "x")]), newline="")))[1:]
    assert [cell.replace("'", "") for cell in row] == [name.replace("'", ""), "x"]


DOCUMENTED = r"(?:^'(?='*[\t\r\n])|(?:^|(?<=[;|\t\r\n]))'(?=[\s'\"]*[=+\-@\uff1d\uff0b\uff0d\uff20]))"
EVERY = ["".join(letters) for n in range(1, 6) for letters in itertools.product("';=\t a", repeat=n)]


def test_the_apostrophes_come_off_as_documented():
    names = [*FORMULAS, *SEPARATED, "'=1", "''-", "'a", "a", "a;b", *EVERY]
    rows = list(csv.reader(io.StringIO(spreadsheet_text(("a",), [(name,) for name in names]), newline="")))[1:]
    assert [re.sub(DOCUMENTED, "", cell) for (cell,) in rows] == names
    assert f're.sub(r"{DOCUMENTED}", "", cell)' in module.__doc__


@pytest.mark.parametrize("name", FORMULAS)
def test_a_list_for_programs_holds_every_name_as_it_is(name):
    (row,) = list(csv.reader(io.StringIO(csv_text(("a",), [(name,)]), newline="")))[1:]
    assert row == [name]


def test_every_list_is_of_one_kind():
    """Programs read manifest.csv, groups.csv and the list beside features; all others are for people."""
    exact = {file.stem for file in SRC.rglob("*.py") if re.search(r"(?<!def )\bcsv_text\(", file.read_text())}
    assert exact == {"manifest", "csv_tables", "csv_text", "feature_files"}
    assert (SRC / "explore" / "csv_tables.py").read_text().count("csv_text(") == 1

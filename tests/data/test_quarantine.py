import csv
import io
import re

import pytest

from thaw.common.errors import UserError
from thaw.data import dataset_cache, quarantine, scan
from thaw.data.scan import ScanResult

from .catalogs import catalog_of_files
from .pictures import write_image


def scan_files(folder, good, bad) -> ScanResult:
    paths = [write_image(folder / f"{i:03}.png") for i in range(good + bad)]
    for i, path in enumerate(paths[:bad]):
        path.write_bytes(b"" if i % 3 else path.read_bytes()[:40])
    catalog = catalog_of_files(paths)
    return scan.scan_catalog(catalog, dataset_cache.plan_spaces(None, 8, len(catalog)))


def error_message(scanned, on_bad, share):
    with pytest.raises(UserError) as caught:
        quarantine.quarantine_or_raise(scanned, on_bad, share, "runs/bad_files.csv")
    return str(caught.value)


def test_stop_names_every_file_and_what_is_wrong(tmp_path):
    message = error_message(scan_files(tmp_path, 3, 2), "stop", 1.0)
    assert message.startswith("2 of 5 images cannot be used:\n")
    assert f"  {tmp_path / '000.png'}: truncated: the PNG file is truncated\n" in message
    assert f"  {tmp_path / '001.png'}: empty: the file is empty\n" in message
    assert "the list: runs/bad_files.csv" in message
    assert "dataset.on_bad=quarantine" in message


def test_stop_says_what_it_takes_to_leave_them_out(tmp_path):
    scanned = scan_files(tmp_path, 3, 2)
    assert "dataset.on_bad=quarantine dataset.max_bad_fraction=0.4; thaw" in error_message(scanned, "stop", 0.01)
    assert "dataset.on_bad=quarantine; thaw" in error_message(scanned, "stop", 0.4)


def test_quarantine_says_what_is_left_out(tmp_path):
    message = quarantine.quarantine_or_raise(scan_files(tmp_path, 99, 1), "quarantine", 0.01, "bad_files.csv")
    assert message.startswith("1 of 100 images cannot be used and are left out:")
    assert "000.png" in message


def test_too_many_bad_files_stop_a_quarantine_too_and_the_share_named_is_enough(tmp_path):
    scanned = scan_files(tmp_path, 67, 3)
    message = error_message(scanned, "quarantine", 0.01)
    assert "3 of 70 images cannot be used, more than dataset.max_bad_fraction=0.01 allows" in message
    share = float(re.search(r"allow them: dataset\.max_bad_fraction=([\d.]+)$", message)[1])
    assert quarantine.quarantine_or_raise(scanned, "quarantine", share, "bad_files.csv")
    assert share < 0.044


def test_a_long_list_is_cut_and_counted_and_the_csv_is_whole(tmp_path):
    scanned = scan_files(tmp_path, 5, 25)
    message = error_message(scanned, "stop", 1.0)
    assert message.count(".png: ") == 20
    assert "and 5 more; in all empty 16, truncated 9" in message
    rows = list(csv.DictReader(io.StringIO(quarantine.bad_files_csv(scanned))))
    assert [row["path"] for row in rows] == [f"{i:03}.png" for i in range(25)]
    assert [row["kind"] for row in rows[:2]] == ["truncated", "empty"]
    assert rows[1]["reason"] == "the file is empty"


def test_names_that_break_lines_are_printed_on_one(tmp_path):
    path = tmp_path / "two\nlines\r\x1b[31m.png"
    path.write_bytes(b"")
    scanned = scan.scan_catalog(catalog_of_files([path]), dataset_cache.plan_spaces(None, 8, 1))
    assert r"two\nlines\r\x1b[31m.png: empty" in error_message(scanned, "stop", 0.0)
    assert next(csv.DictReader(io.StringIO(quarantine.bad_files_csv(scanned), newline="")))["path"] == path.name


def test_remarks_count_what_was_ignored_and_animations(tmp_path):
    frames = [write_image(tmp_path / "1.png")]
    scanned = scan.scan_catalog(catalog_of_files(frames), dataset_cache.plan_spaces(None, 8, 1))
    assert quarantine.data_remarks(scanned) == []
    catalog = type(scanned.catalog)(**{**vars(scanned.catalog), "ignored": {".txt": 2, ".DS_Store": 12}})
    noted = type(scanned)(**{**vars(scanned), "catalog": catalog, "notes": ("first of 3 frames",)})
    assert quarantine.data_remarks(noted) == [
        "ignored: .DS_Store 12, .txt 2",
        "only the first picture is taken of: animations 1",
    ]

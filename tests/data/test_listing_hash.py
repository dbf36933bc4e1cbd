"""The hash of a data set's files changes with any of them."""

import os
from pathlib import Path

import pytest

from thaw.common.errors import UserError
from thaw.config.schema import DatasetConfig
from thaw.data.listing_hash import listing_sha256


def changed(dataset: DatasetConfig, file: Path) -> bool:
    """Whether the hash is another one once `file` has been written anew."""
    before = listing_sha256(dataset)
    assert listing_sha256(dataset) == before
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"new")
    os.utime(file, ns=(1, 1))
    return listing_sha256(dataset) != before


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a/1.png", "b/2.png", "other.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"picture")
    (tmp_path / "table.csv").write_text("path,label\na/1.png,a\nb/2.png,b\n")
    return tmp_path


@pytest.mark.parametrize("name", ["a/1.png", "c/new.png"])
def test_of_a_folder_every_file_counts(folder: Path, name: str) -> None:
    assert changed(DatasetConfig("image_folder", str(folder)), folder / name)


@pytest.mark.parametrize(("name", "counts"), [("a/1.png", True), ("other.png", False)])
def test_of_a_table_the_pictures_count_that_it_names(folder: Path, name: str, counts: bool) -> None:
    assert changed(DatasetConfig("csv", str(folder / "table.csv")), folder / name) is counts


def test_an_archive_counts_itself_and_a_set_without_a_path_has_no_files(folder: Path) -> None:
    assert changed(DatasetConfig("image_folder", str(folder / "a.zip")), folder / "a.zip")
    assert listing_sha256(DatasetConfig("digits")) == ""


def test_a_table_that_is_none_is_refused(folder: Path) -> None:
    (folder / "table.csv").write_text("file,class\n")
    with pytest.raises(UserError, match="path"):
        listing_sha256(DatasetConfig("csv", str(folder / "table.csv")))

"""What an exploration finds, writes and leaves alone."""

import base64
import csv
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thaw.common.errors import UserError
from thaw.config.schema import BackboneConfig, DatasetConfig
from thaw.data import dataset_table, splits
from thaw.data.splits import SplitOptions
from thaw.explore import backbone_features
from thaw.tools import explore

from . import flawed_photos
from .conftest import colour_features, explore_config, printed

NEAR = {"lime/1.jpg", "lime/mirrored.jpg"}


def read_csv(file):
    with file.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize(
    "kind", ["bad_file", "exact_duplicate", "near_duplicate", "plain", "dark", "long", "wrong_ending"]
)
def test_every_planted_fault_is_found_and_nothing_else(explored, kind):
    files = {row["file"] for row in read_csv(explored.folder / "findings.csv") if row["kind"] == kind}
    assert files == explored.planted[kind]


def test_the_planted_wrong_label_is_the_first_suspect(explored):
    rows = [row for row in read_csv(explored.folder / "findings.csv") if row["kind"] == "mislabelled"]
    assert {row["file"] for row in rows[:2]} == {*explored.planted["mislabelled"], "lime/twin.jpg"}
    assert {row["other_class"] for row in rows[:2]} == {"sky", "apple"}


def test_pairs_name_both_files_classes_and_splits(explored):
    rows = read_csv(explored.folder / "findings.csv")
    twin = next(row for row in rows if row["kind"] == "exact_duplicate")
    assert (twin["other_file"], twin["class"], twin["other_class"]) == ("apple/0.jpg", "lime", "apple")
    splits = {row["file"]: row["split"] for row in read_csv(explored.folder / "images.csv")}
    assert (twin["split"], twin["other_split"]) == (splits["lime/twin.jpg"], splits["apple/0.jpg"])
    assert twin["split"] == twin["other_split"], "a run keeps equal pictures together"
    page = (explored.folder / "explore.html").read_text(encoding="utf-8")
    assert "two classes: lime, apple" in page
    near = next(row for row in rows if row["kind"] == "near_duplicate")
    assert near["split"] != near["other_split"], "with this seed: see that the page says so"
    assert page.count("two splits: ") == sum(
        row["other_file"] != "" and row["split"] != row["other_split"] for row in rows
    )
    assert near["other_file"] == "lime/mirrored.jpg"
    assert float(near["score"]) > 0.98


def test_a_run_keeps_near_duplicates_on_one_side_by_the_table_of_groups(explored):
    catalog = dataset_table.load_named_catalog(DatasetConfig(name="csv", path=str(explored.folder / "groups.csv")))
    assert len(catalog) == len(read_csv(explored.folder / "images.csv"))
    group = {
        Path(path).relative_to(explored.data).as_posix(): g
        for path, g in zip(catalog.paths, catalog.groups, strict=True)
    }
    assert group["lime/1.jpg"] == group["lime/mirrored.jpg"] != ""
    assert group["apple/2.jpg"] == ""
    for seed in range(20):
        groups = splits.group_ids([""] * len(catalog), catalog.groups)
        chosen = splits.make_splits(
            catalog.labels, catalog.assigned_splits, catalog.class_names, groups, SplitOptions(0.2, 0.2, seed)
        )
        sides = {name for name, rows in chosen.by_name().items() for i in rows if catalog.names[i] in NEAR}
        assert len(sides) == 1


def test_every_sound_image_is_in_the_table_with_what_it_is(explored):
    rows = {row["file"]: row for row in read_csv(explored.folder / "images.csv")}
    files = {str(path.relative_to(explored.data)) for path in explored.data.rglob("*") if path.is_file()}
    assert set(rows) == files - explored.planted["bad_file"]
    night, really = rows["apple/night.png"], rows["apple/really.png"]
    assert (night["width"], night["height"], night["mode"], night["format"]) == ("80", "60", "RGB", "PNG")
    assert really["format"] == "JPEG"
    assert int(really["bytes"]) == (explored.data / "apple/really.png").stat().st_size
    assert float(night["brightness"]) < 16


def test_the_terminal_says_where_and_how_many(explored):
    assert "2 files cannot be used" in explored.out
    assert f"page {explored.folder / 'explore.html'}" in explored.out


def test_a_clean_folder_has_no_findings_of_a_certain_kind(tmp_path, monkeypatch):
    monkeypatch.setattr(backbone_features, "pooled_features", colour_features)
    data = flawed_photos.write_photos(tmp_path / "photos", images=12)
    printed(lambda: explore.explore(explore_config(data, tmp_path)))
    kinds = {row["kind"] for row in read_csv(tmp_path / "explore" / "findings.csv")}
    assert kinds <= {"odd_one_out", "mislabelled"}


def test_random_weights_are_refused():
    options = explore_config("photos", Path("out"))
    options.backbone = BackboneConfig(name="efficientnet_lite0", weights="none")
    with pytest.raises(UserError, match=r"backbone\.weights=none has random weights"):
        explore.explore(options)


def test_a_run_that_is_not_there_is_named_before_anything_is_read(tmp_path):
    options = explore_config(tmp_path / "no photos", tmp_path, tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    options.backbone = BackboneConfig(weights="0123456789abcdef")
    with pytest.raises(UserError, match="no run 0123456789abcdef"):
        explore.explore(options)


def test_copies_of_one_picture_are_nothing_to_compare(tmp_path):
    data = flawed_photos.write_photos(tmp_path / "photos", images=3)
    for file in data.rglob("*.jpg"):
        if file.name != "0.jpg" or file.parent.name != "apple":
            shutil.copy(data / "apple" / "0.jpg", file)
    with pytest.raises(UserError, match="all 9 pictures have the same content"):
        explore.explore(explore_config(data, tmp_path))


def test_the_cap_is_kept_and_said(explored, tmp_path, monkeypatch):
    monkeypatch.setattr(backbone_features, "pooled_features", colour_features)
    printed(lambda: explore.explore(explore_config(explored.data, tmp_path, thumbnails=5, seed=13)))
    few, many = (folder / "explore.html" for folder in (tmp_path / "explore", explored.folder))
    text = few.read_text()
    assert "Up to 5 pictures of each class" in text
    assert text.count('loading="lazy"') < 60 < many.read_text().count('loading="lazy"')
    assert len(read_csv(tmp_path / "explore" / "findings.csv")) == len(read_csv(explored.folder / "findings.csv"))


def test_a_published_split_that_lacks_classes_is_explored_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(backbone_features, "pooled_features", colour_features)
    flawed_photos.write_photos(tmp_path / "photos" / "training_set", images=8)
    flawed_photos.write_photos(tmp_path / "photos" / "test_set", images=3)
    shutil.rmtree(tmp_path / "photos" / "test_set" / "sky")
    out = printed(lambda: explore.explore(explore_config(tmp_path / "photos", tmp_path)))
    assert "warning: test has no images of 1 of 3 classes: sky" in out
    assert "taken by their names: training_set/ for train, test_set/ for test" in out
    assert {row["class"] for row in read_csv(tmp_path / "explore" / "images.csv")} == {"apple", "lime", "sky"}


def test_what_cannot_be_split_is_shown_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(backbone_features, "pooled_features", colour_features)
    data = flawed_photos.write_photos(tmp_path / "photos", images=8)
    for file in sorted((data / "sky").iterdir())[1:]:
        file.unlink()
    out = printed(lambda: explore.explore(explore_config(data, tmp_path)))
    assert "a run would stop: classes are too small to be split" in out
    assert re.search(r"apple +│ +8 │", out)
    assert len(read_csv(tmp_path / "explore" / "images.csv")) == 17


def test_pictures_that_use_few_of_their_16_bits_are_found_and_shown_as_a_run_would_see_them(tmp_path, monkeypatch):
    monkeypatch.setattr(backbone_features, "pooled_features", colour_features)
    for i in range(12):
        levels = np.random.default_rng(i).integers(3000, 4096, (60, 80)).astype(np.uint16)
        file = tmp_path / "photos" / "ab"[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels).save(file)
    results = {}
    for bits in (None, 12):
        options = explore_config(tmp_path / "photos", tmp_path)
        options.dataset.bits = bits
        out = printed(lambda options=options: explore.explore(options))
        rows = [row for row in read_csv(tmp_path / "explore" / "findings.csv") if row["kind"] == "shallow"]
        page = (tmp_path / "explore" / "explore.html").read_text(encoding="utf-8")
        uris = re.findall(r"data:image/jpeg;base64,([\w+/=]+)", page)
        brightest = max(np.asarray(Image.open(io.BytesIO(base64.b64decode(uri)))).max() for uri in uris)
        results[bits] = len(rows), "dataset.bits=12 spreads" in out, brightest > 200
    assert results == {None: (12, True, False), 12: (0, False, True)}

"""The run's first steps: list, scan, quarantine, split, pixels. No TensorFlow."""

import csv
import io
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from thaw.cache import DiskCache
from thaw.common.errors import UserError
from thaw.config.job import Job
from thaw.config.schema import Config, DatasetConfig
from thaw.run_context import RunContext, StepTimer
from thaw.run_data import load_run_data
from thaw.training.checkpoint import CheckpointDir

from .data.pictures import noise, write_image


class Tracked:
    """A run that remembers what it was given."""

    def __init__(self):
        self.artifacts, self.logged, self.resumed_tags, self.id = {}, {}, {}, "0123"

    def log_artifact(self, file):
        self.artifacts[file.name] = file.read_text("utf-8", "surrogateescape")

    def log_dataset(self, name, digest, source, *, profile):
        self.logged = {"name": name, "digest": digest, "source": source, "profile": json.loads(json.dumps(profile))}

    def set_tags(self, tags): ...

    def command_line(self, script, key):
        return f"python scripts/{script}.py {key}={self.id}"

    def manifest(self):
        return list(csv.DictReader(io.StringIO(self.artifacts["manifest.csv"])))


@pytest.fixture
def pictures(tmp_path):
    for c, name in enumerate(("zebra", "ant", "bee")):
        for i in range(30):
            write_image(tmp_path / "pictures" / name / f"{i:02}.png", noise(8, 8, 100 * c + i))
    return tmp_path / "pictures"


def read_data(folder, tracked=None, **dataset):
    config = Config(dataset=DatasetConfig(name="image_folder", path=str(folder), **dataset), outputs=str(folder.parent))
    config.backbone.image_size = 64
    store = DiskCache(folder.parent / "store", 1e9)
    return load_run_data(context_of(config, store, tracked or Tracked(), folder.parent / "run")), store


def context_of(config, cache, tracked, folder):
    """A run's context, its run in the store a stand-in."""
    return RunContext(config, Job(folder, folder), tracked, cache, CheckpointDir(folder, 1, tracked.id), StepTimer())


def test_bad_files_stop_a_run_that_selects_none_of_them_and_the_list_is_kept(pictures):
    for i in range(10, 30):
        (pictures / "ant" / f"{i}.png").write_bytes(b"")
    tracked = Tracked()
    with pytest.raises(UserError, match=r"20 of 90 images cannot be used[\s\S]*run/bad_files\.csv"):
        read_data(pictures, tracked, limit_per_class=1)
    rows = list(csv.DictReader(io.StringIO(tracked.artifacts["bad_files.csv"])))
    assert [(row["path"], row["kind"]) for row in rows] == [(f"ant/{i}.png", "empty") for i in range(10, 30)]
    assert (pictures.parent / "run" / "bad_files.csv").exists()


def test_quarantine_leaves_bad_files_out_and_says_so(pictures, capsys):
    tracked = Tracked()
    (pictures / "ant" / "07.png").write_bytes(b"<html></html>")
    (pictures / "ant" / ".DS_Store").write_bytes(b"")
    data, _ = read_data(pictures, tracked, on_bad="quarantine", max_bad_fraction=0.02)
    said = capsys.readouterr().out
    assert "1 of 90 images cannot be used and are left out" in said
    assert "ant/07.png: web_page: " in said
    assert "ignored: .DS_Store 1" in said
    assert len(data.splits.all_indices()) == 89
    assert "ant/07.png" not in [data.pixels.catalog.names[i] for i in data.splits.all_indices()]
    (bad,) = [row for row in tracked.manifest() if row["verdict"] != "ok"]
    assert (bad["path"], bad["verdict"], bad["split"]) == ("ant/07.png", "web_page", "")
    assert tracked.logged["profile"]["bad"] == 1
    assert (pictures / "ant" / "07.png").read_bytes() == b"<html></html>"


def test_the_manifest_fixes_the_order_of_labels(pictures):
    tracked = Tracked()
    data, _ = read_data(pictures, tracked)
    assert tracked.logged["profile"]["class_names"] == list(data.class_names) == ["ant", "bee", "zebra"]
    assert {(row["class"], row["label"]) for row in tracked.manifest()} == {("0", "ant"), ("1", "bee"), ("2", "zebra")}
    assert len(tracked.manifest()) == 90


def test_a_small_run_judges_everything_and_keeps_the_pixels_of_what_it_uses(pictures):
    data, store = read_data(pictures, limit_per_class=1)
    assert len(data.splits.all_indices()) == 9
    data.pixels.take(data.splits.all_indices())
    (pixels,) = (key.parent for key in store.folder.glob("*/space.json") if '"pixels"' in key.read_text())
    assert sum(file.stat().st_size for file in pixels.glob("*.rows")) == 9 * 8 * 8 * 3


def test_the_data_is_the_same_data_whatever_bad_files_lie_beside_it(pictures):
    first, second = Tracked(), Tracked()
    before, _ = read_data(pictures, first)
    (pictures / "ant" / "00 first of all.jpg").write_bytes(b"")
    after, _ = read_data(pictures, second, on_bad="quarantine", max_bad_fraction=0.5)
    assert second.logged["digest"] == first.logged["digest"]
    assert np.array_equal(after.splits.val, before.splits.val)


def test_equal_images_are_kept_on_one_side_and_contradictions_are_said(pictures, capsys):
    for i in range(30):
        shutil.copy(pictures / "ant" / f"{i:02}.png", pictures / "ant" / f"copy of {i:02}.png")
    shutil.copy(pictures / "bee" / "00.png", pictures / "zebra" / "mistaken.png")
    data, _ = read_data(pictures)
    sides = [set(data.pixels.digests(indices)) for indices in data.splits.by_name().values()]
    assert sides[0] & sides[1] == sides[0] & sides[2] == sides[1] & sides[2] == set()
    assert sum(map(len, sides)) == 90
    assert "bee/00.png = zebra/mistaken.png" in capsys.readouterr().out


def test_a_file_that_vanishes_after_the_scan_ends_the_run_with_its_path(pictures):
    data, _ = read_data(pictures, limit_per_class=5)
    lost = data.pixels.catalog.paths[data.splits.train[3]]
    os.remove(lost)  # noqa: PTH107
    with pytest.raises(UserError, match=f"{lost}: no such file.*was there when this run began"):
        data.pixels.take(data.splits.train)


def test_pictures_that_change_or_vanish_are_named_though_their_pixels_are_kept(pictures):
    data, _ = read_data(pictures)
    data.pixels.take(data.splits.all_indices())
    os.utime(pictures / "ant" / "00.png", (1, 1))
    data.pixels.check_unchanged()  # the same content
    write_image(pictures / "bee" / "03.png", noise(8, 8, 12345))
    with pytest.raises(UserError, match=r"bee/03\.png: it has changed since this run began\. Start again"):
        data.pixels.check_unchanged()
    shutil.rmtree(pictures / "ant")
    with pytest.raises(UserError, match=r"ant/00\.png: .* this run began \(and 30 more\)"):
        data.pixels.check_unchanged()


def test_pictures_that_a_run_does_not_use_may_change(pictures):
    data, _ = read_data(pictures, limit_per_class=1)
    used = {data.pixels.catalog.paths[index] for index in data.splits.all_indices()}
    for path in pictures.glob("*/*.png"):
        if str(path) not in used:
            path.unlink()
    data.pixels.check_unchanged()


def test_a_run_that_goes_on_keeps_its_manifest_though_the_data_have_changed(pictures):
    began = Tracked()
    data, _ = read_data(pictures, began)
    again = Tracked()
    again.resumed_tags = {"fingerprint.data_sha256": began.logged["digest"]}
    same, _ = read_data(pictures, again)
    assert (same.image_names("train"), again.artifacts, again.logged) == (data.image_names("train"), {}, {})
    write_image(pictures / "ant" / "03.png", noise(8, 8, 7000))
    with pytest.raises(UserError, match=r"the data changed since it began .* scripts/reproduce\.py run="):
        read_data(pictures, again)
    assert (again.artifacts, again.logged) == ({}, {})
    (pictures / "ant" / "03.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"run/resumed_bad_files\.csv"):
        read_data(pictures, again)


def test_what_the_config_says_of_16_bits_reaches_every_pixel_and_is_asked_for_where_it_is_missing(tmp_path, capsys):
    for i in range(40):
        levels = np.random.default_rng(i).integers(0, 4096, (8, 8)).astype(np.uint16)
        levels[0] = 4095
        write_image(tmp_path / "pictures" / "ab"[i % 2] / f"{i:02}.png", Image.fromarray(levels))
    data, _ = read_data(tmp_path / "pictures")
    assert data.pixels.take(data.splits.all_indices()).max() == 16
    said = capsys.readouterr().out
    assert "warning: 40 of 40 pictures with 16 bits a channel hold no value over 4,095" in said
    assert "dataset.bits=12" in said
    data, _ = read_data(tmp_path / "pictures", bits=12)
    assert (data.pixels.take(data.splits.all_indices()).max(axis=(1, 2, 3)) == 255).all()
    assert "16 bits" not in capsys.readouterr().out
    with pytest.raises(UserError, match=r"40 of 40 images cannot be used[\s\S]*out_of_range[\s\S]*allows 1,023"):
        read_data(tmp_path / "pictures", bits=10)

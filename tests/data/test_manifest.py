import csv
import dataclasses
import hashlib
import io

import numpy as np
from PIL import Image

from thaw.data import dataset_cache, manifest, pixels
from thaw.data.catalog import Catalog
from thaw.data.scan import scan_catalog
from thaw.data.splits import Splits

from .pictures import noise, write_image

NAMES = ("cat/1.png", 'cat/a "b", c.png', "dog/1.png", "dog/caf\udce9.png")
LABELS = [0, 0, 1, 1]


def scan_and_split(folder, order=(0, 1, 2, 3), labels=LABELS, class_names=("cat", "dog"), test=(2,)):
    """The four pictures, scanned in an order; image 3 is left out, those in `test` are tested, the rest trained."""
    for i, name in enumerate(NAMES):
        write_image(folder / f"{i}.png", noise(4 + i, 4, seed=i)).rename(with_parent(folder / name))
    catalog = Catalog(
        tuple(NAMES[i] for i in order),
        tuple(str(folder / NAMES[i]) for i in order),
        None,
        np.array([labels[i] for i in order], np.int32),
        class_names,
        np.full(4, -1, np.int8),
    )
    positions = [[at for at, i in enumerate(order) if (i in test) == tested and i != 3] for tested in (False, True)]
    return scanned(catalog), Splits(np.array(positions[0]), np.array([], np.int64), np.array(positions[1]))


def scanned(catalog):
    return scan_catalog(catalog, dataset_cache.plan_spaces(None, 8, len(catalog)))


def data_sha256(scanned, splits):
    images = pixels.of_scan(scanned, np.arange(len(scanned.catalog)), dataset_cache.plan_spaces(None, 8, 4))
    return manifest.data_sha256(images, splits)


def with_parent(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def read(scanned, splits):
    return list(csv.DictReader(io.StringIO(manifest.manifest_csv(scanned, splits))))


def test_the_manifest_has_a_row_for_every_image_that_is_used(tmp_path):
    scanned, splits = scan_and_split(tmp_path)
    written = read(scanned, splits)
    assert [row["path"] for row in written] == list(NAMES[:3])
    assert [row["split"] for row in written] == ["train", "train", "test"]
    assert [(row["label"], row["class"]) for row in written] == [("cat", "0"), ("cat", "0"), ("dog", "1")]
    assert [(row["width"], row["height"], row["mode"]) for row in written] == [(f"{w}", "4", "RGB") for w in (4, 5, 6)]
    assert [row["sha256"] for row in written] == list(scanned.sha256[:3])
    assert [(row["verdict"], row["note"]) for row in written] == [("ok", "")] * 3


def test_a_bad_file_is_in_the_manifest_with_its_kind_and_in_no_split(tmp_path):
    before, splits = scan_and_split(tmp_path)
    bad = tmp_path / NAMES[3]
    bad.write_bytes(b"")
    scanned_now = scanned(before.catalog)
    (row,) = [row for row in read(scanned_now, splits) if row["verdict"] != "ok"]
    assert row == {
        "path": NAMES[3], "sha256": hashlib.sha256(b"").hexdigest(), "width": "", "height": "", "mode": "",
        "label": "dog", "class": "1", "split": "", "verdict": "empty", "note": "the file is empty",
    }  # fmt: skip
    assert data_sha256(scanned_now, splits) == data_sha256(before, splits)  # of what is used


def test_an_animation_is_noted(tmp_path):
    scanned_before, splits = scan_and_split(tmp_path)
    frames = [noise(4, 4, seed) for seed in range(3)]
    frames[0].save(tmp_path / NAMES[0], "WEBP", save_all=True, append_images=frames[1:])
    assert [row["note"] for row in read(scanned(scanned_before.catalog), splits)] == ["first of 3 frames", "", ""]


def test_the_manifest_names_no_folder_of_this_machine(tmp_path):
    scanned_before, splits = scan_and_split(tmp_path)
    (tmp_path / NAMES[1]).write_bytes(b"")
    for one in (scanned_before, scanned(scanned_before.catalog)):
        assert str(tmp_path) not in manifest.manifest_csv(one, splits)


def test_a_name_that_is_not_utf8_survives(tmp_path):
    scanned, _ = scan_and_split(tmp_path)
    splits = Splits(np.array([3]), np.array([], np.int64), np.array([], np.int64))
    (tmp_path / "manifest.csv").write_text(manifest.manifest_csv(scanned, splits), "utf-8", "surrogateescape")
    assert b"dog/caf\xe9.png," in (tmp_path / "manifest.csv").read_bytes()
    assert len(data_sha256(scanned, splits)) == 64


def test_the_data_hash_does_not_depend_on_folder_or_order(tmp_path):
    here = data_sha256(*scan_and_split(tmp_path / "here"))
    assert here == data_sha256(*scan_and_split(tmp_path / "there", order=(2, 0, 3, 1)))


def test_the_data_hash_changes_with_content_label_and_split(tmp_path):
    hashes = [
        data_sha256(*scan_and_split(tmp_path / "a")),
        data_sha256(*scan_and_split(tmp_path / "a", labels=[0, 1, 1, 1])),
        data_sha256(*scan_and_split(tmp_path / "a", test=(1,))),
    ]
    before, splits = scan_and_split(tmp_path / "b")
    Image.new("RGB", (4, 4)).save(before.catalog.paths[0])
    hashes.append(data_sha256(scanned(before.catalog), splits))
    renamed = dataclasses.replace(before.catalog, names=("cat/0.png", *NAMES[1:]))
    hashes.append(data_sha256(dataclasses.replace(before, catalog=renamed), splits))
    assert len(set(hashes)) == 5

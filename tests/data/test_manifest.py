import csv
import dataclasses
import io

import numpy as np
from PIL import Image

from thaw.data import manifest, pixels
from thaw.data.catalog import Catalog
from thaw.data.splits import Splits

from .pictures import noise, write

NAMES = ("cat/1.png", 'cat/a "b", c.png', "dog/1.png", "dog/caf\udce9.png")
LABELS = [0, 0, 1, 1]


def used(folder, order=(0, 1, 2, 3), labels=LABELS, class_names=("cat", "dog"), test=(2,)):
    """The four pictures, cataloged in an order; image 3 is left out, those in `test` are tested, the rest trained."""
    for i, name in enumerate(NAMES):
        write(folder / f"{i}.png", noise(4 + i, 4, seed=i)).rename(_made(folder / name))
    catalog = Catalog(
        tuple(NAMES[i] for i in order),
        tuple(str(folder / NAMES[i]) for i in order),
        None,
        np.array([labels[i] for i in order], np.int32),
        class_names,
        np.full(4, -1, np.int8),
    )
    places = [[at for at, i in enumerate(order) if (i in test) == tested and i != 3] for tested in (False, True)]
    splits = Splits(np.array(places[0]), np.array([], np.int64), np.array(places[1]))
    return pixels.read(catalog, np.arange(4), 8), splits


def _made(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_the_manifest_has_a_row_for_every_image_that_is_used(tmp_path):
    read, splits = used(tmp_path)
    written = list(csv.DictReader(io.StringIO(manifest.text(read, splits))))
    assert [row["path"] for row in written] == list(NAMES[:3])
    assert [row["split"] for row in written] == ["train", "train", "test"]
    assert [row["label"] for row in written] == ["cat", "cat", "dog"]
    assert [(row["width"], row["height"]) for row in written] == [("4", "4"), ("5", "4"), ("6", "4")]
    assert [row["sha256"] for row in written] == list(read.sha256[:3])


def test_the_manifest_names_no_folder_of_this_machine(tmp_path):
    assert str(tmp_path) not in manifest.text(*used(tmp_path))


def test_a_name_that_is_not_utf8_survives(tmp_path):
    read, _ = used(tmp_path)
    read = pixels.read(read.catalog, np.array([3]), 8)
    splits = Splits(np.array([3]), np.array([], np.int64), np.array([], np.int64))
    (tmp_path / "manifest.csv").write_text(manifest.text(read, splits), "utf-8", "surrogateescape")
    assert b"dog/caf\xe9.png," in (tmp_path / "manifest.csv").read_bytes()
    assert len(manifest.data_sha256(read, splits)) == 64


def test_the_data_hash_does_not_depend_on_place_or_order(tmp_path):
    here = manifest.data_sha256(*used(tmp_path / "here"))
    assert here == manifest.data_sha256(*used(tmp_path / "there", order=(2, 0, 3, 1)))


def test_the_data_hash_changes_with_content_label_and_split(tmp_path):
    hashes = [
        manifest.data_sha256(*used(tmp_path / "a")),
        manifest.data_sha256(*used(tmp_path / "a", labels=[0, 1, 1, 1])),
        manifest.data_sha256(*used(tmp_path / "a", test=(1,))),
    ]
    read, splits = used(tmp_path / "b")
    Image.new("RGB", (4, 4)).save(read.catalog.paths[0])
    hashes.append(manifest.data_sha256(pixels.read(read.catalog, read.indices, 8), splits))
    renamed = dataclasses.replace(read.catalog, names=("cat/0.png", *NAMES[1:]))
    hashes.append(manifest.data_sha256(dataclasses.replace(read, catalog=renamed), splits))
    assert len(set(hashes)) == 5

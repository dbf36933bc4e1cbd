"""Features in files: right, in the images' order, and the same whether they were interrupted or not."""

import csv
import json
from collections import namedtuple
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.frozen.small_network import SIZE, build_network, picture, write_photos
from thaw.common.errors import UserError
from thaw.config.schema import HeadConfig
from thaw.config.tool_schemas import PredictConfig
from thaw.results import network_features, predicted_files
from thaw.results.network_features import FeatureNetwork, find_output
from thaw.results.trained_classifier import Classifier, InferenceSettings
from thaw.tools import feature_files, predict

NUMBERS = list(range(11))


@pytest.fixture(scope="module")
def network():
    return build_network(HeadConfig(name="linear"))


@pytest.fixture(scope="module")
def functions() -> dict:
    """What was traced already, by layer and precision: it takes a second."""
    return {}


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    return write_photos(tmp_path / "photos", NUMBERS)


class Interrupting:
    """Features in Keras, which Ctrl-C ends at the call with this number."""

    def __init__(self, function, interrupt_at: int | None = None) -> None:
        self.function, self.interrupt_at, self.images = function, interrupt_at, []

    def __call__(self, images: np.ndarray) -> np.ndarray:
        if len(self.images) == self.interrupt_at:
            raise KeyboardInterrupt
        self.images.append(len(images))
        return self.function(images)


@pytest.fixture
def written(network, functions: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that runs `thaw predict features=...` on the small network, in groups of 4 files."""
    monkeypatch.setattr(predicted_files, "DECODE_GROUP", 4)
    monkeypatch.setattr(feature_files, "DECODE_GROUP", 4)
    build = network_features.feature_function

    def load(layer: str, *_: object) -> FeatureNetwork:
        output = find_output(layer, network, [])
        classifier = Classifier(network.model, ["a", "b"], SIZE, InferenceSettings("tensorflow"))
        return FeatureNetwork(network_features._submodel(network.model, output), output, classifier)

    monkeypatch.setattr(feature_files, "load_feature_network", load)

    def run(output: str, interrupt_at: int | None = None, **keys: object) -> Interrupting:
        counting = []

        def interrupting(features: FeatureNetwork, *asked: object):
            key = (features.shape, *asked)
            function, how = functions[key] = functions.get(key) or build(features, *asked)
            counting.append(Interrupting(function, interrupt_at))
            return counting[0], how

        monkeypatch.setattr(feature_files, "feature_function", interrupting)
        keys = {"features": "pooled", "images": str(tmp_path / "photos"), **keys}
        predict.predict(PredictConfig(output=str(tmp_path / output), **keys))
        return counting[0]

    return run


def expected(network, layer: str, numbers: list[int]) -> np.ndarray:
    import keras

    model = keras.Model(network.model.inputs, find_output(layer, network, []).tensor)
    return np.asarray(model(np.stack([picture(n) for n in numbers]).astype(np.float32), training=False))


def images_listed(file: Path) -> list[str]:
    text = file.read_bytes().decode("utf-8", "surrogateescape")
    rows = list(csv.DictReader(text.splitlines(keepends=True)))
    assert [int(row["row"]) for row in rows] == list(range(len(rows)))
    return [row["image"] for row in rows]


@pytest.mark.parametrize(("layer", "shape"), [("pooled", (256,)), ("conv_pw_2", (8, 8, 32))])
def test_rows_are_what_keras_computes_in_the_order_of_the_files(
    written, network, photos, tmp_path, layer: str, shape: tuple, capsys
) -> None:
    images = [photos[i] for i in (3, 1, 7, 0, 10, 2)]
    written("f.npy", images=images, features=layer)
    rows = np.load(tmp_path / "f.npy")
    assert (rows.dtype, rows.shape) == (np.float32, (6, *shape))
    wanted = expected(network, layer, [3, 1, 7, 0, 10, 2])
    np.testing.assert_allclose(rows, wanted, atol=1e-4 * np.abs(wanted).max())
    assert images_listed(tmp_path / "f.csv") == images
    assert sorted(f.name for f in tmp_path.iterdir()) == ["f.csv", "f.npy", "photos"]
    said = capsys.readouterr().out
    assert f"features of {layer} · {'x'.join(map(str, shape))} float32 · images: 6 · " in said
    assert "tensorflow in float32" in said
    assert "f.npy · rows: 6 · their images in f.csv" in said


def test_parquet_has_the_same_numbers_with_their_images(written, photos, tmp_path) -> None:
    written("f.npy", features="conv_pw_2")
    written("f.parquet", features="conv_pw_2")
    table = pq.read_table(tmp_path / "f.parquet")
    assert table.column("image").to_pylist() == photos
    read = np.stack(table.column("feature").to_numpy())
    assert read.tobytes() == np.load(tmp_path / "f.npy").tobytes()
    assert {key.decode(): value.decode() for key, value in table.schema.metadata.items()} == {
        "layer": "conv_pw_2", "shape": "8x8x32",
    }  # fmt: skip
    assert not list(tmp_path.glob("*.part*"))


@pytest.mark.parametrize("name", ["f.npy", "f.parquet"])
def test_an_interrupted_file_continues_and_becomes_the_uninterrupted_one(
    written, photos, tmp_path, name: str, capsys
) -> None:
    written(f"whole-{name}")
    with pytest.raises(KeyboardInterrupt):
        written(name, interrupt_at=2)
    assert not (tmp_path / name).exists(), "a name is that of a whole file"
    assert capsys.readouterr().err == "stopped at 8 of 11 images: the same command continues there\n"
    assert written(name).images == [3], "what is there is not computed again"
    assert "images that are there already: 8 of 11" in capsys.readouterr().out
    assert (tmp_path / name).read_bytes() == (tmp_path / f"whole-{name}").read_bytes()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"features": "conv_pw_2"}, "another network, layer"),
        ({"precision": "bfloat16"}, "another engine or precision"),
        ({"bits": 12}, "another decoding"),
        ("one image more", "another list of images"),
        ("an image changed", "another list of images"),
    ],
)
def test_what_was_begun_of_something_else_is_begun_anew(written, photos, tmp_path, change, named: str, capsys) -> None:
    with pytest.raises(KeyboardInterrupt):
        written("f.npy", interrupt_at=1)
    if change == "one image more":
        write_photos(tmp_path / "photos" / "more", [20])
    elif change == "an image changed":
        Path(photos[0]).write_bytes(Path(photos[5]).read_bytes())
    keys = change if isinstance(change, dict) else {}
    assert sum(written("f.npy", **keys).images) == 11 + (change == "one image more")
    assert f"f.npy.part has {named}: it is begun anew" in capsys.readouterr().err
    written("anew.npy", **keys)
    assert (tmp_path / "f.npy").read_bytes() == (tmp_path / "anew.npy").read_bytes()


def test_unreadable_images_have_no_row_and_are_named_also_after_an_interruption(
    written, network, photos, tmp_path
) -> None:
    for i in (1, 9):
        Path(photos[i]).write_bytes(b"no picture")
    with pytest.raises(KeyboardInterrupt):
        written("f.npy", interrupt_at=1)
    with pytest.raises(UserError, match=r"2 of 11 files could not be read:\n  .*001_1\.png: .*\n  .*009_9\.png: "):
        written("f.npy")
    readable = [i for i in NUMBERS if i not in (1, 9)]
    np.testing.assert_allclose(np.load(tmp_path / "f.npy"), expected(network, "pooled", readable), rtol=1e-3, atol=1e-4)
    assert images_listed(tmp_path / "f.csv") == [photos[i] for i in readable]


def test_where_nothing_can_be_read_nothing_is_written(written, tmp_path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="1 of 1 files could not be read"):
        written("f.npy")
    assert [f.name for f in tmp_path.iterdir()] == ["photos"]


def test_any_name_of_a_file_is_listed_as_it_is(written, tmp_path) -> None:
    source = write_photos(tmp_path / "photos", [0, 1])
    names = [str(tmp_path / "photos" / name) for name in ('=1+1,"\n.png', "caf\udce9.png")]
    for old, new in zip(source, names, strict=True):
        Path(old).rename(new)
    written("f.npy")
    assert images_listed(tmp_path / "f.csv") == names


def test_features_that_find_no_room_are_refused_before_they_are_computed(
    written, photos, tmp_path, monkeypatch
) -> None:
    disk = namedtuple("disk", "free")
    monkeypatch.setattr(feature_files.shutil, "disk_usage", lambda folder: disk(2 * 11 * 1024 - 1))
    with pytest.raises(UserError, match=r"takes 22\.5 kB, and 22\.5 kB are free there. Choose another disk, a later"):
        written("f.parquet")
    written("f.npy")  # takes half of it
    assert np.load(tmp_path / "f.npy").shape == (11, 256)


def test_large_features_are_computed_a_few_images_at_a_time(written, photos, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(feature_files, "MIN_CALL", 2)
    monkeypatch.setattr(feature_files, "CALL_BYTES", 3 * 1024)
    assert written("f.npy").images == [3, 1, 3, 1, 3]
    monkeypatch.setattr(feature_files, "CALL_BYTES", 0)
    assert written("f.npy", batch_size=1).images == [1] * 11


def test_a_record_names_what_the_rows_depend_on(written, photos, tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt):
        written("f.npy", interrupt_at=1)
    record = json.loads((tmp_path / "f.npy.part.json").read_text())
    assert set(record) == {"done", "rows", "unreadable", "identity"}
    assert set(record["identity"]) == {
        "format", "network", "layer", "list of images", "decoding", "engine or precision",
    }  # fmt: skip


def test_a_table_of_the_users_own_is_not_replaced_by_a_list_of_images(written, photos, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,label\n")
    with pytest.raises(UserError, match=r"a file of that name is there, without features, and may be yours"):
        written("labels.npy")
    assert (tmp_path / "labels.csv").read_text() == "path,label\n"
    (tmp_path / "labels.csv").unlink()
    written("labels.npy")
    written("labels.npy", features="pooled")  # again: both files are its own


def test_a_crash_between_the_list_and_the_features_last_name_is_continued(
    written, photos, tmp_path, monkeypatch
) -> None:
    written("whole.npy")
    with monkeypatch.context() as patched:

        def crash(*_: object) -> None:
            raise KeyboardInterrupt

        patched.setattr(feature_files.PartialRows, "move_to", crash)
        with pytest.raises(KeyboardInterrupt):
            written("f.npy")
    assert (tmp_path / "f.csv").exists()
    assert not (tmp_path / "f.npy").exists()
    assert written("f.npy").images == []
    assert (tmp_path / "f.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()

"""Which images of a data set a network is evaluated on, and which output is the class of each. No TensorFlow."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.data.pictures import noise, write_image
from thaw.cache import DiskCache
from thaw.common.errors import UserError
from thaw.config.schema import Config, DatasetConfig
from thaw.data import prepare
from thaw.results.evaluation_data import class_lines, list_images, match_classes, read_images


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Folders train, val and test of three classes, with 6, 2 and 4 images of each."""
    for s, (split, images) in enumerate({"train": 6, "val": 2, "test": 4}.items()):
        for c, name in enumerate(("ant", "bee", "zebra")):
            for i in range(images):
                write_image(tmp_path / "pictures" / split / name / f"{i}.png", noise(8, 8, 1000 * s + 100 * c + i))
    return tmp_path / "pictures"


def read(pictures: Path, class_names: list[str], split: str | None = None, seed: int = 0, **keys):
    dataset = DatasetConfig(name="image_folder", path=str(pictures), **keys)
    listed = list_images(dataset, split, class_names)
    return read_images(listed, dataset, DiskCache(pictures.parent / "cache", 1e9), 32, seed, pictures.parent)


def test_classes_are_matched_by_name_whatever_their_order_and_spelling() -> None:
    network = ["zebra", "Ant", "caf\u00e9"]
    assert match_classes(["ant", "bee", "cafe\u0301", "zebra"], network).tolist() == [1, -1, 2, 0]
    assert match_classes(["A", "a"], ["a", "A"]).tolist() == [1, 0]
    assert match_classes(["\u00e0"], ["A\u0300", "a\u0300"]).tolist() == [-1], "either may be meant"


def test_test_images_are_the_default_where_the_data_set_says_which_these_are(pictures: Path) -> None:
    names = ["zebra", "bee", "ant"]
    data = read(pictures, names)
    assert (data.covers, len(data.indices)) == ("all 12 test images", 12)
    assert {name.split("/")[1]: names[label] for name, label in zip(data.names, data.labels, strict=True)} == {
        name: name for name in names
    }
    assert read(pictures, names, "all").covers == "all 36 images"
    assert read(pictures, names, "val").covers == "all 6 val images"
    assert read(pictures / "train", names).covers == "all 18 images"
    with pytest.raises(UserError, match=r"split=val: .* it has no splits\. split=all evaluates"):
        read(pictures / "train", names, "val")


def test_images_of_unknown_classes_are_counted_and_not_even_read(pictures: Path) -> None:
    for file in (pictures / "test" / "bee").iterdir():
        file.write_bytes(b"no picture")
    data = read(pictures, ["ant", "wasp", "zebra"])
    assert data.unknown_classes == {"bee": 4}
    assert data.missing_classes(["ant", "wasp", "zebra"]) == ["wasp"]
    assert data.labels.tolist() == [0] * 4 + [2] * 4
    assert data.covers == "all 8 test images of classes that it knows"
    unknown, missing = class_lines(data, ["ant", "wasp", "zebra"])
    assert unknown == "classes that the network does not know: bee (4). Their 4 images are left out"
    assert missing.startswith("classes of the network without images: wasp.")


def test_pictures_of_a_single_class_are_enough(pictures: Path) -> None:
    shutil.move(pictures / "test" / "ant", pictures.parent / "field" / "Ant")
    data = read(pictures.parent / "field", ["bee", "ant"])
    assert (data.labels.tolist(), data.missing_classes(["bee", "ant"])) == ([1] * 4, ["bee"])
    table = pictures.parent / "labels.csv"
    table.write_text("path,label\n" + "".join(f"field/Ant/{i}.png,ant\n" for i in range(4)))
    listed = list_images(DatasetConfig(name="csv", path=str(table)), None, ["bee", "ant"])
    assert len(listed.catalog) == 4
    (pictures.parent / "nothing").mkdir()
    with pytest.raises(UserError, match="no class folders; at least one class is needed"):
        read(pictures.parent / "nothing", ["bee", "ant"])


def test_without_a_common_class_both_lists_are_shown(pictures: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)no class of pictures .*data set: ant, bee, zebra\n.*network: cat, dog\n"):
        read(pictures, ["cat", "dog"])


def test_bad_files_stop_an_evaluation_or_are_left_out_as_in_a_run(pictures: Path) -> None:
    (pictures / "test" / "ant" / "0.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="1 of 12 images cannot be used"):
        read(pictures, ["ant", "bee", "zebra"])
    data = read(pictures, ["ant", "bee", "zebra"], on_bad="quarantine", max_bad_fraction=0.5)
    assert (len(data.indices), data.bad_files) == (11, 1)
    assert (pictures.parent / "bad_files.csv").read_text().startswith("path,kind,reason\ntest/ant/0.png,")


@pytest.mark.parametrize("seed", [0, 7])
def test_a_limit_takes_the_images_that_a_run_with_the_same_seed_takes(pictures: Path, seed: int) -> None:
    config = Config(dataset=DatasetConfig(name="image_folder", path=str(pictures), limit_per_class=1), seed=seed)
    scan, _ = prepare.scan_dataset(config.dataset, DiskCache(pictures.parent / "cache", 1e9), 32)
    of_run = prepare.split_dataset(scan, config.dataset, config.split, seed).by_name()
    for split in ("val", "test"):
        data = read(pictures, ["zebra", "bee", "ant"], split, seed, limit_per_class=1)
        assert data.names == [scan.catalog.names[i] for i in of_run[split]]
    assert data.covers == "3 of the test images"


def test_the_data_sets_hash_is_of_the_evaluated_images_alone(pictures: Path) -> None:
    names = ["ant", "bee", "zebra"]
    data = read(pictures, names)
    same = read(pictures, names[::-1])
    assert same.data_sha256() == data.data_sha256()
    fewer = data.only(np.arange(12) > 0, "fewer")
    assert fewer.data_sha256() != data.data_sha256()
    assert fewer.names == data.names[1:]

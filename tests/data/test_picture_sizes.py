"""How large pictures are is known from a few of their headers, and how much small ones are enlarged."""

from pathlib import Path

import pytest
from PIL import Image

from thaw.config.schema import BackboneConfig, Config, DatasetConfig
from thaw.data.dataset_table import load_named_catalog
from thaw.data.picture_sizes import typical_side
from thaw.models.backbone_table import size_for_pictures
from thaw.run_data import with_pinned_backbone


def folder_of(folder: Path, *sizes: tuple[int, int]) -> DatasetConfig:
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for i, size in enumerate(sizes):
            Image.new("RGB", size).save(folder / name / f"{i}.png")
    return DatasetConfig(name="image_folder", path=str(folder))


def test_it_is_the_median_of_the_shorter_sides_of_those_that_can_be_read(tmp_path: Path) -> None:
    dataset = folder_of(tmp_path, (40, 30), (20, 50), (90, 900))
    (tmp_path / "a" / "broken.png").write_bytes(b"no picture")
    assert typical_side(dataset) == 30


def test_digits_have_one_size_and_cifar10_is_not_downloaded_for_it() -> None:
    assert (
        typical_side(DatasetConfig(name="digits")) == load_named_catalog(DatasetConfig(name="digits")).arrays.shape[1]
    )
    assert typical_side(DatasetConfig(name="cifar10")) == 32


def test_what_is_wrong_with_the_data_is_left_to_the_scan(tmp_path: Path) -> None:
    assert typical_side(DatasetConfig(name="image_folder", path=str(tmp_path / "nothing"))) is None
    assert typical_side(DatasetConfig(name="nothing")) is None


@pytest.mark.parametrize(
    ("name", "side", "size"),
    [
        ("efficientnet_lite0", 32, 160),
        ("efficientnet_lite0", 8, 64),
        ("inceptionv3", 8, 75),
        ("inceptionv3", 50, 256),
        ("efficientnet_lite0", 45, 224),
        ("efficientnet_lite0", 500, 224),
        ("cnn", 32, 32),
    ],
)
def test_small_pictures_are_enlarged_five_fold_at_most(name: str, side: int, size: int | None) -> None:
    assert size_for_pictures(name, side) == size


@pytest.mark.parametrize(
    ("backbone", "size"),
    [
        (BackboneConfig(), 160),
        (BackboneConfig(image_size=224), 224),
        (BackboneConfig(name="no backbone"), None),
    ],
)
def test_a_new_runs_config_has_the_size_and_one_that_is_given_stands(
    tmp_path: Path, backbone: BackboneConfig, size: int | None
) -> None:
    config = Config(dataset=folder_of(tmp_path, (32, 32)), backbone=backbone)
    assert with_pinned_backbone(config).backbone.image_size == size
    assert config.backbone is backbone


def test_pictures_that_cannot_be_listed_leave_the_backbones_own_size(tmp_path: Path) -> None:
    config = Config(dataset=DatasetConfig(name="image_folder", path=str(tmp_path / "nothing")))
    assert with_pinned_backbone(config).backbone.image_size == 224

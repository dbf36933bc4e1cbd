from pathlib import Path

import pytest
import yaml

from thaw.common.errors import UserError
from thaw.config.schema import BackboneConfig
from thaw.models.backbone_table import BACKBONES, check_backbone, input_size

CONF = Path(__file__).parent.parent.parent / "conf" / "backbone"


def test_every_backbone_has_one_yaml_file_and_one_row() -> None:
    assert sorted(file.stem for file in CONF.glob("*.yaml")) == sorted(BACKBONES)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_yaml_file_fits_its_row(name: str) -> None:
    config = BackboneConfig(**yaml.safe_load((CONF / f"{name}.yaml").read_text()))
    assert config.name == name
    check_backbone(config)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (BackboneConfig(name="inceptionv3", image_size=32), "smallest input of inceptionv3, 75 pixels"),
        (BackboneConfig(name="inception3"), "Did you mean 'inceptionv3'"),
        (BackboneConfig(name="vgg16", alpha=0.5), "backbone.alpha is not an argument of vgg16"),
        (BackboneConfig(name="mobilenet", alpha=0.3), "exist for 0.25, 0.5, 0.75, 1.0"),
        (BackboneConfig(name="mobilenet", depth_multiplier=2), "exist for 1 only"),
        (BackboneConfig(name="cnn", weights="imagenet"), "cnn has no ImageNet weights"),
    ],
)
def test_what_a_backbone_cannot_have_is_refused(config: BackboneConfig, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_backbone(config)


def test_any_width_goes_with_random_weights() -> None:
    check_backbone(BackboneConfig(name="mobilenet", alpha=0.3, weights="none"))


def test_the_default_size_is_the_backbones_own() -> None:
    assert input_size(BackboneConfig(name="inceptionv3")) == 299
    assert input_size(BackboneConfig(name="inceptionv3", image_size=160)) == 160

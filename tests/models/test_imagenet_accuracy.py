"""The accuracy on ImageNet that is published of each backbone's weights. No TensorFlow."""

import pytest

from thaw.config.schema import BackboneConfig
from thaw.models import backbone_table
from thaw.models.imagenet_accuracy import imagenet_accuracy


@pytest.mark.parametrize("name", [name for name in backbone_table.BACKBONES if name != "cnn"])
def test_each_backbone_with_published_weights_has_one(name: str) -> None:
    widths = backbone_table._PUBLISHED_ALPHA.get(name, (None,))
    for alpha in widths:
        found = imagenet_accuracy(BackboneConfig(name=name, weights="imagenet", alpha=alpha))
        assert found is not None, f"{name}, alpha {alpha}"
        assert 0.5 < found < 0.87


def test_a_wider_network_is_better_and_so_is_a_full_one() -> None:
    def of(name: str, **keys: object) -> float:
        found = imagenet_accuracy(BackboneConfig(name=name, weights="imagenet", **keys))  # type: ignore[arg-type]
        assert found is not None
        return found

    for name, widths in backbone_table._PUBLISHED_ALPHA.items():
        figures = [of(name, alpha=width) for width in widths]
        assert figures == sorted(figures)
    assert of("mobilenet") == of("mobilenet", alpha=1.0)
    assert of("mobilenetv3large", minimalistic=True) < of("mobilenetv3large")


@pytest.mark.parametrize("weights", ["none", "weights.h5", "1a2b3c4d"])
def test_of_other_weights_nothing_is_published(weights: str) -> None:
    assert imagenet_accuracy(BackboneConfig(name="efficientnet_lite0", weights=weights)) is None

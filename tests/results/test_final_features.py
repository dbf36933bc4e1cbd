"""Features of a trained network for a map: the right ones, from where they cost least, and no longer than allowed."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from thaw.cache import DiskCache
from thaw.config.schema import HeadConfig
from thaw.data.pixel_stores import PixelStore
from thaw.results.final_features import BATCH_SIZE, final_features

IMAGES = 20
INDICES = np.array([7, 3, *range(8, 20), 0, 1, 2, 4, 5, 6])  # a sample is in no order


class NoPixels(PixelStore):
    """Fails when an image is asked for."""

    def take(self, rows):
        raise AssertionError("the images were not needed")

    sample = take


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> SimpleNamespace:
    """A network that was trained behind conv_pw_3, and the activations there of all images in the cache."""
    from tests.frozen.small_network import BACKBONE, CHOICE, build_network, picture, read_photos
    from thaw.frozen.activations import build_frozen_part
    from thaw.models.network import cut_at

    folder = tmp_path_factory.mktemp("final features")
    network = build_network(HeadConfig(name="flatten_dense", hidden=4))
    pixels = read_photos(folder / "photos", list(range(IMAGES)))
    index = 1 + next(layer.index for layer in network.backbone.graph.layers if layer.name == "conv_pw_3_relu")
    cache = DiskCache(folder / "cache", 1e9)
    build_frozen_part(network, cut_at(network, index), BACKBONE, CHOICE).cached_activations(cache, pixels, INDICES)
    images = np.stack([picture(number) for number in INDICES]).astype(np.float32)
    features = network.backbone.model([images], training=False).numpy().mean(axis=(1, 2))
    return SimpleNamespace(
        network=network, pixels=pixels, index=index, cache=cache, features=features, choice=CHOICE, backbone=BACKBONE
    )


def computed(run: SimpleNamespace, *, cache: DiskCache | None = None, seconds: float = 60.0, **changes) -> np.ndarray:
    pixels = replace(run.pixels, **changes)
    cut = SimpleNamespace(index=run.index)
    trained = SimpleNamespace(
        network=run.network, engine=run.choice, data=SimpleNamespace(pixels=pixels), calibration=lambda: None,
        stages=[SimpleNamespace(planned=SimpleNamespace(cut=cut))],
    )  # fmt: skip
    context = SimpleNamespace(cache=cache or run.cache, config=SimpleNamespace(backbone=run.backbone))
    return final_features(context, trained, INDICES, seconds)


def test_cached_activations_spare_the_images_and_the_frozen_layers(run) -> None:
    features = computed(run, pixel_store=NoPixels())
    assert features.shape == (IMAGES, 256)
    np.testing.assert_allclose(features, run.features, atol=1e-3)


def test_without_them_the_images_give_the_same(run, tmp_path: Path) -> None:
    features = computed(run, cache=DiskCache(tmp_path, 0.0))
    assert np.abs(run.features).max() > 0.1
    np.testing.assert_allclose(features, run.features, atol=1e-3)


def test_when_the_time_is_over_the_first_images_are_enough(run) -> None:
    np.testing.assert_allclose(computed(run, seconds=0.0), run.features[:BATCH_SIZE], atol=1e-3)

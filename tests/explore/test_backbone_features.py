"""The features are those of recipe=bottleneck: computed once for both."""

import importlib.util

import numpy as np
import pytest

from thaw.cache import DiskCache
from thaw.common import tensorflow_setup
from thaw.common.hardware import detect_hardware
from thaw.config.schema import BackboneConfig, CacheConfig, DatasetConfig, HeadConfig
from thaw.config.tool_schemas import ExploreConfig
from thaw.data import dataset_table, pixels
from thaw.explore import backbone_features
from thaw.frozen import engine
from thaw.frozen.activations import build_frozen_part

from . import flawed_photos


@pytest.fixture
def config_and_pixels(tmp_path):
    data = flawed_photos.write_photos(tmp_path / "photos", images=2)
    dataset = DatasetConfig(name="image_folder", path=str(data))
    config = ExploreConfig(
        backbone=BackboneConfig(image_size=32), dataset=dataset, cache=CacheConfig(dir=str(tmp_path / "cache"))
    )
    catalog = dataset_table.load_named_catalog(dataset)
    return config, pixels.of_catalog(catalog, np.arange(6), 32)


def test_a_bottleneck_run_finds_the_features_and_so_does_an_exploration(config_and_pixels, tmp_path):
    config, images = config_and_pixels
    store = DiskCache(tmp_path / "cache", 1e9)
    computed = backbone_features.pooled_features(config, images, images.indices, store)
    assert computed.shape == (6, 1280)

    tensorflow_setup.start_tensorflow(0, True)
    from thaw.models import backbones, network

    joined = network.attach_head(backbones.build_backbone(config.backbone), HeadConfig(), ("apple", "lime", "sky"))
    choice = engine.choose_engine(
        "auto", "auto", "auto", depthwise=True, trains_backbone=False, hardware=detect_hardware()
    )
    frozen = build_frozen_part(joined, network.feature_cut(joined), config.backbone, choice)
    activations = frozen.cached_activations(store, images, images.indices)
    assert (activations.rows.hits, activations.rows.misses) == (6, 0)
    np.testing.assert_array_equal(activations.take(images.indices)[0], computed)


@pytest.mark.slow
def test_without_a_cache_the_features_are_the_same(config_and_pixels, tmp_path):
    config, images = config_and_pixels
    cached = backbone_features.pooled_features(config, images, images.indices, DiskCache(tmp_path / "cache", 1e9))
    np.testing.assert_array_equal(
        backbone_features.pooled_features(config, images, images.indices, DiskCache(tmp_path / "off", 0.0)), cached
    )
    assert not (tmp_path / "off").exists()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("nncf") is None, reason="needs nncf, thaw's extra int8")
def test_features_in_int8_are_about_the_same_and_rows_of_their_own(config_and_pixels, tmp_path):
    config, images = config_and_pixels
    store = DiskCache(tmp_path / "cache", 1e9)
    exact = backbone_features.pooled_features(config, images, images.indices, store)
    config.precision = "int8"
    rounded = backbone_features.pooled_features(config, images, images.indices, store)
    assert exact.tobytes() != rounded.tobytes()
    assert np.corrcoef(exact.ravel(), rounded.ravel())[0, 1] > 0.9
    np.testing.assert_array_equal(
        backbone_features.pooled_features(config, images, images.indices, DiskCache(tmp_path / "off", 0.0)),
        rounded,
    )

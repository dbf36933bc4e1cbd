"""A job reuses the backbone of the previous job only where that changes nothing."""

import weakref
from dataclasses import replace

import pytest

from thaw.config.schema import BackboneConfig, HeadConfig

SMALL = BackboneConfig(name="mobilenet", alpha=0.25, image_size=32, weights="none")


@pytest.fixture
def built():
    from thaw.common import tensorflow_setup
    from thaw.models import backbone_reuse

    tensorflow_setup.start_tensorflow(0, deterministic=True)
    return backbone_reuse.build_or_reuse(SMALL, seed=0)[0]


def rebuild(config: BackboneConfig = SMALL, seed: int = 0):
    from thaw.common import tensorflow_setup
    from thaw.models import backbone_reuse

    tensorflow_setup.start_tensorflow(seed, deterministic=True)
    return backbone_reuse.build_or_reuse(config, seed)[0]


def test_the_same_backbone_is_reused(built) -> None:
    assert rebuild() is built


def test_another_config_or_seed_is_built_anew(built) -> None:
    assert rebuild(seed=1) is not built
    assert rebuild(replace(SMALL, alpha=0.5)) is not built


def test_a_backbone_whose_weights_changed_is_built_anew(built) -> None:
    from thaw.models.weights_hash import weights_sha256

    new = weights_sha256(built.model)
    statistic = built.model.non_trainable_weights[0]
    statistic.assign(statistic + 1e-6)
    after = rebuild()
    assert after is not built
    assert weights_sha256(after.model) == new


def test_a_weights_file_that_was_replaced_is_read_rebuild(built, tmp_path) -> None:
    from thaw.models import backbone_reuse

    file = tmp_path / "own.weights.h5"
    built.model.save_weights(file)
    config = replace(SMALL, weights=str(file))
    _, first = backbone_reuse.build_or_reuse(config, 0)
    kernel = built.model.trainable_weights[0]
    kernel.assign(kernel + 1)
    built.model.save_weights(file)
    assert backbone_reuse.build_or_reuse(config, 0)[1] != first


def test_the_head_of_an_earlier_job_is_freed_before_the_next_one_is_attached(built) -> None:
    from thaw.models import network

    for _ in range(3):
        joined = network.attach_head(rebuild(), HeadConfig(name="linear"), ("a", "b"))
        head = weakref.ref(joined.model.get_layer("predictions"))
        del joined
        assert rebuild() is built
        assert head() is None


def test_a_backbone_that_is_not_asked_for_again_is_freed_before_the_next_one_is_built(monkeypatch) -> None:
    from thaw.models import backbones

    old, seen, build = weakref.ref(rebuild(seed=1).model), [], backbones.build_backbone
    monkeypatch.setattr(backbones, "build_backbone", lambda config: (seen.append(old()), build(config))[1])
    rebuild(seed=2)
    assert seen == [None]

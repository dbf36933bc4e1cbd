"""A job takes over the backbone of the job before only where that changes nothing."""

import weakref
from dataclasses import replace

import pytest

from thaw.config.schema import BackboneConfig, HeadConfig

SMALL = BackboneConfig(name="mobilenet", alpha=0.25, image_size=32, weights="none")


@pytest.fixture
def built():
    from thaw.common import backend
    from thaw.models import backbone_reuse

    backend.start_tensorflow(0, deterministic=True)
    return backbone_reuse.build_or_reuse(SMALL, seed=0)[0]


def again(config: BackboneConfig = SMALL, seed: int = 0):
    from thaw.common import backend
    from thaw.models import backbone_reuse

    backend.start_tensorflow(seed, deterministic=True)
    return backbone_reuse.build_or_reuse(config, seed)[0]


def test_the_same_backbone_is_taken_over(built) -> None:
    assert again() is built


def test_what_was_asked_for_differently_is_built_anew(built) -> None:
    assert again(seed=1) is not built
    assert again(replace(SMALL, alpha=0.5)) is not built


def test_one_whose_weights_moved_is_built_anew_and_is_as_new(built) -> None:
    from thaw.models.weights_digest import weights_sha256

    new = weights_sha256(built.model)
    statistic = built.model.non_trainable_weights[0]
    statistic.assign(statistic + 1e-6)
    after = again()
    assert after is not built
    assert weights_sha256(after.model) == new


def test_a_weights_file_that_was_replaced_is_read_again(built, tmp_path) -> None:
    from thaw.models import backbone_reuse

    file = tmp_path / "own.weights.h5"
    built.model.save_weights(file)
    config = replace(SMALL, weights=str(file))
    _, first = backbone_reuse.build_or_reuse(config, 0)
    kernel = built.model.trainable_weights[0]
    kernel.assign(kernel + 1)
    built.model.save_weights(file)
    assert backbone_reuse.build_or_reuse(config, 0)[1] != first


def test_the_head_of_an_earlier_job_is_freed_before_the_next_one_is_joined(built) -> None:
    from thaw.models import network

    for _ in range(3):
        joined = network.attach_head(again(), HeadConfig(name="linear"), ("a", "b"))
        head = weakref.ref(joined.model.get_layer("predictions"))
        del joined
        assert again() is built
        assert head() is None


def test_a_backbone_that_is_not_asked_for_again_is_freed_before_the_next_one_is_built(monkeypatch) -> None:
    from thaw.models import backbones

    old, seen, build = weakref.ref(again(seed=1).model), [], backbones.build_backbone
    monkeypatch.setattr(backbones, "build_backbone", lambda config: (seen.append(old()), build(config))[1])
    again(seed=2)
    assert seen == [None]

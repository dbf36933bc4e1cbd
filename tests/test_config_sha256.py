"""The hash that says whether two runs compute the same: of the config, the weights, the cuts and the engine."""

import dataclasses
import hashlib
import json

import pytest

from thaw.config import stored_config
from thaw.config.schema import BackboneConfig, CacheConfig, Config, TrackingConfig
from thaw.frozen.engine import EngineChoice
from thaw.run_fingerprint import config_sha256


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (Config(cache=CacheConfig(dir="/elsewhere", max_gb=1.0)), True),
        (Config(outputs="/elsewhere"), True),
        (Config(tracking=TrackingConfig(experiment="another")), True),
        (Config(cache=CacheConfig(views=4)), False),
        (Config(seed=1), False),
        (Config(distribute="mirrored"), False),
    ],
)
def test_the_configs_hash_holds_all_that_trains_and_no_place(other: Config, same: bool) -> None:
    assert (config_sha256(other) == config_sha256(Config())) == same


def test_the_configs_hash_goes_by_the_content_of_weights_and_by_where_stages_are_cut() -> None:
    """A file's name says nothing of what is in it, and a cheaper cut for want of room rounds differently."""
    here, there = (Config(backbone=BackboneConfig(weights=path)) for path in ("a.h5", "/elsewhere/b.h5"))
    assert config_sha256(here, "1" * 64) == config_sha256(there, "1" * 64) != config_sha256(here, "2" * 64)
    assert config_sha256(Config(), "1" * 64) == config_sha256(Config(), "2" * 64)  # imagenet: Keras's own
    assert config_sha256(Config(), cuts=(150, 88)) != config_sha256(Config(), cuts=(150, 44))


def test_the_configs_hash_goes_by_what_auto_came_to() -> None:
    here, there = (EngineChoice("openvino", "1", precision, "float32") for precision in ("float32", "bfloat16"))
    assert config_sha256(Config(), choice=here) != config_sha256(Config(), choice=there)
    asked = Config(engine="openvino", precision="float32", frozen_precision="float32")
    assert config_sha256(Config(), choice=here) == config_sha256(asked, choice=here)


def test_the_configs_hash_goes_by_the_devices_that_train_and_stays_as_it_was_without() -> None:
    two, four = (EngineChoice("tensorflow", "1", "float32", "float32", "gpu", devices=n) for n in (2, 4))
    mirrored = Config(distribute="mirrored")
    assert config_sha256(mirrored, choice=two) != config_sha256(mirrored, choice=four)
    content = dict(stored_config.flatten(dataclasses.asdict(Config())))
    content = {key: value for key, value in content.items() if not stored_config.is_result_neutral(key)}
    assert content.pop("distribute") == "none"
    earlier = json.dumps({**content, "cuts": ()}, sort_keys=True).encode()
    assert config_sha256(Config()) == hashlib.sha256(earlier).hexdigest()

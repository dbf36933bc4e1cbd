"""What the spine itself decides."""

from pathlib import Path

import pytest

from thaw import tracking
from thaw.common import backend
from thaw.common.backend import Hardware
from thaw.common.errors import UserError
from thaw.config.job import Job
from thaw.config.schema import BackboneConfig, CacheConfig, Config, TrackingConfig
from thaw.frozen.engine import EngineChoice
from thaw.run import config_sha256, run


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (Config(cache=CacheConfig(dir="/elsewhere", max_gb=1.0)), True),
        (Config(outputs="/elsewhere"), True),
        (Config(tracking=TrackingConfig(experiment="another")), True),
        (Config(cache=CacheConfig(views=4)), False),
        (Config(seed=1), False),
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


@pytest.mark.parametrize(
    ("config", "hardware", "said"),
    [
        (Config(engine="openvino", precision="float16"), Hardware(True, True, False), "does not compute in float16"),
        (Config(engine="openvino"), Hardware(False, True, False), "the package openvino is not installed"),
    ],
)
def test_what_the_machine_cannot_do_is_refused_before_the_data_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Config, hardware: Hardware, said: str
) -> None:
    monkeypatch.setattr(backend, "processor", lambda: hardware)
    monkeypatch.setattr(tracking, "start_run", None)  # called, it would raise TypeError
    with pytest.raises(UserError, match=said):
        run(config, Job(tmp_path, tmp_path))

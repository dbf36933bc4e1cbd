"""What the spine itself decides."""

import pytest

from thaw.config.schema import CacheConfig, Config, TrackingConfig
from thaw.run import config_sha256


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

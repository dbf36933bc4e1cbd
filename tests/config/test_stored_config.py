"""A stored config says what it said, and what another one says otherwise."""

import pytest

from thaw.common.errors import UserError
from thaw.config import stored_config
from thaw.config.schema import CacheConfig, CheckpointConfig, Config, FinetuneConfig, StageConfig


def test_what_was_written_is_read_again() -> None:
    text = "{seed: 3, outputs: /o, finetune: {freeze: 0.5, stages: [{freeze: mixed5, epochs: 2}]}}"
    config = stored_config.parse_stored_config(text, "config.yaml")
    assert config.finetune == FinetuneConfig(freeze=0.5, stages=[StageConfig(freeze="mixed5", epochs=2)])
    assert stored_config.parse_stored_config(stored_config.config_yaml(config), "config.yaml") == config


@pytest.mark.parametrize("text", ["1e5", "12e45678", "2026_11_27", "1.10", "007", "true", "12:30:45", "0x10", "abc"])
def test_a_text_that_looks_like_a_number_is_read_again(text: str) -> None:
    config = stored_config.parse_stored_config("{outputs: /o}", "config.yaml")
    config.backbone.weights = config.tracking.experiment = text
    assert stored_config.parse_stored_config(stored_config.config_yaml(config), "config.yaml") == config
    assert stored_config.parse_stored_config(f"backbone: {{weights: {text}}}", "config.yaml").backbone.weights == text


def test_a_key_that_is_newer_than_the_file_takes_its_default() -> None:
    config = stored_config.parse_stored_config("seed: 7", "config.yaml")
    assert (config.seed, config.checkpoint) == (7, CheckpointConfig())


def test_a_run_from_before_there_were_versions_splits_by_the_first_rule() -> None:
    assert stored_config.parse_stored_config("seed: 7", "config.yaml").split.version == 1
    assert stored_config.parse_stored_config("split: {folds: 5}", "config.yaml").split.version == 1
    assert (
        stored_config.parse_stored_config(stored_config.config_yaml(Config()), "config.yaml").split.version
        == Config().split.version
        == 2
    )


def test_a_run_from_before_there_was_a_choice_of_val_loss_watches_what_it_watched() -> None:
    assert stored_config.parse_stored_config("seed: 7", "config.yaml").train.val_loss == "objective"
    assert stored_config.parse_stored_config("train: {patience: 5}", "config.yaml").train.val_loss == "objective"
    assert (
        stored_config.parse_stored_config(stored_config.config_yaml(Config()), "config.yaml").train.val_loss
        == Config().train.val_loss
        == "cross_entropy"
    )


def test_an_unknown_key_is_refused_with_its_file() -> None:
    with pytest.raises(UserError, match=r"here/config\.yaml is no config of this version of thaw: .*sed"):
        stored_config.parse_stored_config("sed: 7", "here/config.yaml")


def test_differences_name_keys_and_values_but_no_places() -> None:
    now = Config(
        seed=1, outputs="/elsewhere", cache=CacheConfig(dir="/c", views=2), checkpoint=CheckpointConfig(keep=5)
    )
    now.finetune.stages = [StageConfig(epochs=2)]
    found = {d.key: d for d in stored_config.config_differences(Config(), now)}
    assert found["seed"].line() == "seed: 0 in the run, 1 now"
    assert found["cache.views"].current == 2
    assert found["finetune.stages[0].epochs"].stored is None
    assert not any(key.startswith(("outputs", "cache.dir", "checkpoint")) for key in found)

"""What a new run has without a key, and what a run means that was stored before keys were added."""

from thaw.cli.compose import compose_config
from thaw.config.schema import Config


def test_a_new_run_has_the_defaults_that_were_measured() -> None:
    config: Config = compose_config("config", Config, ["dataset=digits"])
    assert (config.recipe, config.backbone.name, config.backbone.freeze) == (
        "finetune", "efficientnet_lite0", "block3b",
    )  # fmt: skip
    optimizer, finetune = config.optimizer, config.finetune
    assert (optimizer.name, optimizer.learning_rate, optimizer.weight_decay, optimizer.schedule) == (
        "adamw", 6e-4, 0.004, "cosine",
    )  # fmt: skip
    assert (optimizer.warmup_epochs, optimizer.warmup_ratio) == (None, 0.125)
    assert (finetune.steps, finetune.epochs, finetune.fallback) == ("auto", None, True)
    assert (config.head.dropout, config.head.label_smoothing) == (0.3, 0.1)


def test_a_stored_run_without_the_keys_means_what_it_meant() -> None:
    stored = Config()
    assert (stored.finetune.steps, stored.finetune.fallback, stored.train.keep) == (500, False, "last")
    for optimizer in (stored.optimizer, stored.finetune.head_optimizer):
        assert (optimizer.warmup_epochs, optimizer.warmup_ratio) == (None, 0.0)
        assert (optimizer.layer_decay, optimizer.clip_norm, optimizer.ema) == (1.0, None, None)
    assert (stored.dataset.resize, stored.augment.place, stored.augment.active) == ("squash", "images", False)
    assert not stored.augment.changes_batches

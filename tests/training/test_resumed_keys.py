"""Stages with the keys of regularisation: two runs are the same, and so is one that died and went on."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.dying import Killed, die_after
from tests.training.test_stages import data, losses, run  # noqa: F401
from thaw.config.schema import AugmentConfig, OptimizerConfig
from thaw.models import freeze_proof

BY_BLOCK = OptimizerConfig(
    name="sgd", learning_rate=0.02, momentum=0.9, schedule="one_cycle", layer_decay=0.5, clip_norm=0.5
)
WARM = OptimizerConfig(name="sgd", learning_rate=1e-3, momentum=0.9, schedule="cosine", warmup_ratio=0.4)
ACTIVATIONS = AugmentConfig(
    place="activations", flip=True, shift=0.2, crop=0.6, erase=0.5, noise=0.2, mixup=0.3, cutmix=1.0
)
IMAGES = AugmentConfig(flip=True, crop=0.6, color=0.3, erase=0.5, mixup=0.3, cutmix=1.0)


@pytest.mark.parametrize(
    ("optimizer", "augment", "options"),
    [(BY_BLOCK, AugmentConfig(), {"keep": "best"}), (WARM, ACTIVATIONS, {}), (WARM, IMAGES, {})],
    ids=["rates by block, clipped, one cycle, best epoch", "changed activations", "changed images"],
)
def test_it_is_repeated_and_resumed_bit_for_bit(
    data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer, augment, options  # noqa: F811
) -> None:  # fmt: skip
    changed = replace(data, augment=augment)

    def trained(folder: str):
        network, result, _ = run(
            changed, tmp_path / folder, request="conv_pw_10", optimizer=optimizer, epochs=3, **options
        )
        return losses(result), freeze_proof.weight_hashes(network.model.layers)

    first = trained("first")
    assert trained("second") == first
    die_after(2, monkeypatch)
    with pytest.raises(Killed):
        trained("killed")
    assert trained("killed") == first

"""The proof that a stage left frozen weights as they were: hashes of every array before and after it."""

from collections.abc import Iterable
from typing import Any

from thaw.common.errors import UserError
from thaw.models.freeze import FreezePlan
from thaw.models.weights_hash import variable_sha256


def weight_hashes(layers: Iterable[Any]) -> dict[str, dict[str, str]]:
    """Return the sha256 of every variable, by layer name and variable path."""
    return {layer.name: {v.path: variable_sha256(v) for v in layer.weights} for layer in layers if layer.weights}


class FreezeBroken(UserError):
    """A frozen weight changed, or no thawed layer did."""


def prove_frozen(
    before: dict[str, dict[str, str]], after: dict[str, dict[str, str]], layers: list[Any], freeze: FreezePlan
) -> list[str]:
    """Prove that a stage left frozen weights unchanged; return the names of thawed layers that did not change.

    With batchnorm=frozen the statistics of thawed BatchNorm layers count as frozen.

    Args:
        before: `weight_hashes` at the stage's start.
        after: `weight_hashes` at its end.
        layers: the backbone's layers, then those of the head.
        freeze: the stage's plan.

    Raises:
        FreezeBroken: a frozen weight or statistic changed by a single bit, or layers were thawed and none changed.
    """
    unmoved, moved = [], 0
    for i, layer in enumerate(layers):
        if layer.name not in before:
            continue
        changed = {path for path, digest in before[layer.name].items() if after[layer.name][path] != digest}
        trains = {v.path for v in layer.trainable_variables}
        allowed = trains if freeze.batchnorm == "frozen" else {v.path for v in layer.weights}
        broken = changed if i < freeze.boundary else changed - allowed
        if broken:
            raise FreezeBroken(
                f"frozen weights moved: {', '.join(sorted(broken))} (boundary {freeze.boundary}, "
                f"finetune.batchnorm={freeze.batchnorm}). This is a defect of thaw; the run is stopped"
            )
        if i >= freeze.boundary and trains:
            moved += bool(changed & trains)
            unmoved += [] if changed & trains else [layer.name]
    if unmoved and not moved:
        raise FreezeBroken(
            f"none of the {len(unmoved)} thawed layers moved: nothing was trained. "
            "Is the learning rate far too small, or did training end before the first step?"
        )
    return unmoved

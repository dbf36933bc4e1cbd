"""The head alone in place of thawed layers that made validation worse: their weights of before, until that is known."""

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from thaw.common.console import say
from thaw.data import manifest
from thaw.data.dataset import Dataset
from thaw.models.network import Network, head_layers
from thaw.training import head_snapshot
from thaw.training.resume_state import checkpointed_variables
from thaw.training.stage_plans import PlannedStage, StageInputs
from thaw.training.stage_result import StageResult
from thaw.training.stages import predict_stage


class HeadFallback:
    """Puts a network back to where stage head left it, if what was thawed behind that is worse on validation images.

    Made of a network as it was built, before any stage trains or is restored: until the first stage that thaws, the
    backbone keeps these weights. Those of the head are in the file of the head alone.
    """

    def __init__(self, network: Network, planned: Sequence[PlannedStage]) -> None:
        self._network = network
        self._variables = checkpointed_variables(network, planned)  # with the head's, which are assigned again
        self._pretrained = [keras.ops.convert_to_numpy(variable) for variable in self._variables]

    def head_values(self) -> list[npt.NDArray[Any]]:
        """Return the values of the head's variables, as they are now."""
        return [keras.ops.convert_to_numpy(variable) for variable in _head_variables(self._network)]

    def applied(
        self, result: StageResult, folder: Path, run_id: str, data: Dataset, inputs: StageInputs
    ) -> StageResult:
        """Return the last stage's result, or where it is worse than the head alone that of the network put back.

        Args:
            result: of the last stage, with probabilities of `val` and `test`.
            folder: of the run, which has the file of the head alone.
            run_id: the run's.
            data: what it trains on.
            inputs: of its stages.
        """
        sha256, labels = manifest.data_sha256(data.pixels, data.splits), data.labels("val")
        alone = head_snapshot.load_head_alone(folder, run_id, sha256)
        head = head_snapshot.load_head_weights(folder, run_id, sha256)
        if alone is None or head is None:  # removed by hand, or damaged
            return result
        before, after = (p["val"].argmax(axis=1) == labels for p in (alone, result.probabilities))
        if not is_worse(after, before):
            return result
        for variable, value in zip(self._variables, self._pretrained, strict=True):
            variable.assign(value)
        for variable, value in zip(_head_variables(self._network), head, strict=True):
            variable.assign(value)
        with_it, without = float(after.mean()), float(before.mean())
        say(f"  left out: validation accuracy {with_it:.4f} with what was thawed, {without:.4f} without, beyond chance")
        # Not those of stage head: with int8 it depends on the cut which layers are quantised.
        probabilities = predict_stage(result.planned, self._network, data, inputs, tuple(result.probabilities))
        return replace(result, probabilities=probabilities, sampled_features=None, left_out=(without, with_it))


def is_worse(right: npt.NDArray[np.bool_], right_before: npt.NDArray[np.bool_]) -> bool:
    """Return whether fewer images are right than before, by more than a standard error of the paired difference.

    right, right_before: bool (N,), of the same images. The error is that of McNemar's test, the root of the number of
    images of which only one of the two is right. Twice that would keep a network that most likely is the worse one.
    """
    lost, gained = int((right_before & ~right).sum()), int((right & ~right_before).sum())
    return lost - gained > sqrt(lost + gained)


def _head_variables(network: Network) -> list[Any]:
    return [variable for layer in head_layers(network) for variable in layer.weights]

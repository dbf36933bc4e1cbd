"""The head alone in place of thawed layers that made validation worse: their weights of before, until that is known."""

import time
from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from thaw.common.console import say
from thaw.data.dataset import Dataset
from thaw.models.network import Network, head_layers
from thaw.training import head_snapshot
from thaw.training.resume_state import checkpointed_variables
from thaw.training.stage_plans import PlannedStage, StageInputs
from thaw.training.stage_result import LeftOut, StageResult
from thaw.training.stages import predict_stage


class HeadFallback:
    """Puts a network back to where stage head left it, if what was thawed behind that is worse on validation images.

    Made of a network as it was built, before any stage trains or is restored: until the first stage that thaws, the
    backbone keeps these weights. Those of the head are in the file of the head alone. by_class: all classes count the
    same in the comparison, however many images they have, as training that is balanced asks for.
    """

    def __init__(self, network: Network, planned: Sequence[PlannedStage], *, by_class: bool = False) -> None:
        self._network, self._by_class = network, by_class
        self._variables = checkpointed_variables(network, planned)  # with the head's, which are assigned again
        self._pretrained = [keras.ops.convert_to_numpy(variable) for variable in self._variables]

    def head_values(self) -> list[npt.NDArray[Any]]:
        """Return the values of the head's variables, as they are now."""
        return [keras.ops.convert_to_numpy(variable) for variable in _head_variables(self._network)]

    def applied(
        self,
        results: Sequence[StageResult],
        folder: Path,
        run_id: str,
        data: Dataset,
        inputs: StageInputs,
        sha256: str,
    ) -> list[StageResult]:
        """Return the results of all stages; where the last is worse than the head alone, those of the network put back.

        Args:
            results: the last has probabilities of `val` and `test`.
            folder: of the run, which has the file of the head alone.
            run_id: the run's.
            data: what it trains on.
            inputs: of its stages.
            sha256: of the data, as the file of the head alone has it.
        """
        labels, last = data.labels("val"), results[-1]
        alone = head_snapshot.load_head_alone(folder, run_id, sha256)
        head = head_snapshot.load_head_weights(folder, run_id, sha256)
        if alone is None or head is None:
            say(f"note: {head_snapshot.FILE_NAME} is missing or damaged: what was thawed is kept, and not compared")
            return list(results)
        weights = _weights_of_images(labels, by_class=self._by_class)
        before, after = (p["val"].argmax(axis=1) == labels for p in (alone, last.probabilities))
        if not is_worse(after, before, weights):
            return list(results)
        for variable, value in zip(self._variables, self._pretrained, strict=True):
            variable.assign(value)
        for variable, value in zip(_head_variables(self._network), head, strict=True):
            variable.assign(value)
        # Not those of stage head: with int8 it depends on the cut which layers are quantised.
        started = time.perf_counter()
        probabilities = predict_stage(last.planned, self._network, data, inputs, tuple(last.probabilities))
        measure = "balanced accuracy" if self._by_class else "accuracy"
        kept = probabilities["val"].argmax(axis=1) == labels
        left_out = LeftOut(measure, *(float(weights @ right / weights.sum()) for right in (kept, after)))
        say(
            f"  left out: validation {measure} {left_out.thawed:.4f} with what was thawed, "
            f"{left_out.head:.4f} without, more than a standard error apart"
        )
        of_head = head_snapshot.head_stage([each.planned for each in results])
        assert of_head is not None, "there is no fallback without one"
        behind = [replace(each, left_out=left_out) for each in results[of_head + 1 : -1]]
        judge_seconds = last.judge_seconds + time.perf_counter() - started
        last = replace(
            last, judge_seconds=judge_seconds, probabilities=probabilities, sampled_features=None, left_out=left_out
        )
        return [*results[: of_head + 1], *behind, last]


def is_worse(
    right: npt.NDArray[np.bool_], right_before: npt.NDArray[np.bool_], weights: npt.NDArray[np.float64] | None = None
) -> bool:
    """Return whether fewer images are right than before, by more than a standard error of the paired difference.

    right, right_before: bool (N,), of the same images; weights: float64 (N,), what each counts, by default 1. The error
    is that of McNemar's test: without weights the root of the number of images of which only one of the two is right.
    Twice that would keep a network that most likely is the worse one.
    """
    lost = right_before.astype(np.float64) - right
    weighted = lost if weights is None else lost * weights
    return bool(weighted.sum() > sqrt((weighted**2).sum()))


def _weights_of_images(labels: npt.NDArray[np.signedinteger[Any]], *, by_class: bool) -> npt.NDArray[np.float64]:
    """Return what each image counts, float64 (N,): the same, or so much that each class counts the same."""
    return 1 / np.bincount(labels)[labels] if by_class else np.ones(len(labels))


def _head_variables(network: Network) -> list[Any]:
    return [variable for layer in head_layers(network) for variable in layer.weights]

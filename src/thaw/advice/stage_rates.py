"""The range test of one stage of a run that has not begun: earlier stages train as the run would train them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from thaw.common.console import say
from thaw.extract.prepared_run import PreparedRun
from thaw.training.rate_choice import RangeTest

if TYPE_CHECKING:  # TensorFlow is imported when the data has been read
    from thaw.training.stage_plans import PlannedStage


def range_test_of(prepared: PreparedRun, stage: PlannedStage) -> RangeTest:
    """Train the stages before `stage`, and test its rates on the network that they leave.

    Args:
        prepared: the run.
        stage: one of its stages, see `prepared_stage`.
    """
    from thaw.models import freeze
    from thaw.models.network import cut_at, divide_network
    from thaw.training.range_test import run_range_test
    from thaw.training.stage_batches import BatchSource
    from thaw.training.stages import stage_fit_inputs, training_precision

    network, data, inputs = prepared.network, prepared.data, prepared.inputs
    _train_stages_before(prepared, stage.stage.number)
    say(f"stage {stage.stage.name} · {stage.stage.optimizer.name} · range test")
    freeze.set_trainable(network.backbone.layers, stage.plan.boundary)
    parts = divide_network(network, stage.plan, cut_at(network, stage.cut.index), inputs.choice.training_step)
    source = BatchSource(stage, parts.cut, network, data, inputs)
    fit_inputs = stage_fit_inputs(stage, network, data, inputs, source)
    with training_precision(parts, inputs):
        return run_range_test(parts.trained, stage.stage, fit_inputs)


def _train_stages_before(prepared: PreparedRun, number: int) -> None:
    from thaw.training.checkpoint import CheckpointDir
    from thaw.training.checkpoint_callback import StageCheckpointer
    from thaw.training.resume_state import checkpointed_variables
    from thaw.training.stages import run_stage

    for i, planned in enumerate(prepared.planned[:number]):
        say(f"stage {planned.stage.name} · {planned.stage.method}")
        with tempfile.TemporaryDirectory(prefix="thaw-rate-") as folder:
            variables = checkpointed_variables(prepared.network, prepared.planned[: i + 1])
            directory = CheckpointDir(Path(folder), 1, "range test")
            run_stage(
                planned,
                prepared.network,
                prepared.data,
                prepared.inputs,
                checkpointer=StageCheckpointer(directory, prepared.config.checkpoint, i, variables),
                predict_splits=(),
                on_start=lambda trainable: None,
                on_epoch=lambda entry: None,
            )

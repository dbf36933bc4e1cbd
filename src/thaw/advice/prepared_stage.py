"""One stage of a run that has not begun, ready to be measured: for the commands that try its rates and its batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thaw.common.errors import UserError
from thaw.config import checks
from thaw.config.schema import Config
from thaw.extract import prepared_run
from thaw.extract.prepared_run import PreparedRun
from thaw.frozen.configured_engine import check_supported

if TYPE_CHECKING:  # TensorFlow is imported when the data has been read
    from thaw.training.stage_plans import PlannedStage


def prepared_stage(config: Config, name: str | None) -> tuple[PreparedRun, PlannedStage]:
    """Return a run, as it would begin, and its stage of a name; without one the last.

    Raises:
        UserError: as the run would; it is to be resumed, or recipe=auto's; there is no such stage, or it does not train
            by steps.
    """
    checks.check_config(config, new_run=True)
    if config.resume is not None:
        raise UserError(f"resume={config.resume} is for training: a stage is measured from its beginning")
    if config.recipe == "auto":
        raise UserError("recipe=auto chooses what it trains: name another recipe, of which a stage is measured")
    check_supported(config)
    prepared = prepared_run.prepare_run(config)
    return prepared, _stage(prepared.planned, name)


def _stage(planned: list[PlannedStage], name: str | None) -> PlannedStage:
    names = [each.stage.name for each in planned]
    if name is not None and name not in names:
        raise UserError(f"stage={name} is no stage of this recipe. There are: {', '.join(names)}")
    stage = planned[names.index(name)] if name is not None else planned[-1]
    if stage.stage.solved:
        raise UserError(
            f"stage {stage.stage.name} has neither learning rate nor batches: head=logistic solves for the head"
        )
    return stage

"""Runs in the store that are evaluations of a trained network, and must not be taken for trainings."""

from collections.abc import Mapping

from thaw.common.errors import UserError

KIND_TAG, EVALUATION = "thaw.kind", "evaluation"
EVALUATED_RUN_TAG = "thaw.evaluated_run"  # the id of the run whose network was evaluated


def is_evaluation(tags: Mapping[str, str]) -> bool:
    """Return whether a run with these tags is an evaluation."""
    return tags.get(KIND_TAG) == EVALUATION


def refuse_evaluation(run_id: str, name: str, tags: Mapping[str, str]) -> None:
    """Raise UserError, which names the evaluated run, where a run that trained is needed."""
    if is_evaluation(tags):
        raise UserError(
            f"run {run_id} ({name}) is an evaluation and trained no network. The run that it evaluated: "
            f"{tags.get(EVALUATED_RUN_TAG, 'unknown')}"
        )

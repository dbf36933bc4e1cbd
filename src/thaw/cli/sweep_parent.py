"""The parent run of a sweep in the store: opened before its jobs, closed with what came of them."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from thaw.common.console import display_path, say
from thaw.common.errors import UserError
from thaw.config import command_lines

if TYPE_CHECKING:
    from thaw.tracking import StoredRun
    from thaw.tracking.sweep_runs import Sweep

PARENT_ID_FILE = "parent_run_id"


def read_parent_id(folder: str | Path) -> str | None:
    """Return the parent run's id, for a job of the sweep in `folder`."""
    file = Path(folder) / PARENT_ID_FILE
    return file.read_text().strip() if file.is_file() else None


def train_best_drafts_again(
    children: Sequence["StoredRun"], train: Callable[["StoredRun", Sequence[str]], BaseException | None]
) -> None:
    """Train the best draft, or each fold of the best setting, in full precision.

    Args:
        children: runs of the sweep, the best first.
        train: trains a draft again with these overrides, and returns the error of a job that failed.

    Raises:
        UserError: one could not be trained.
    """
    from thaw import tracking

    repeated = {child.tags[tracking.REPEATS_DRAFT_TAG] for child in children if child.repeats_draft}
    drafts = tracking.best_drafts([child for child in children if not child.repeats_draft])
    for draft in (draft for draft in drafts if draft.id not in repeated):  # a start that was killed repeated some folds
        say(f"best draft {draft.id}: {draft.objective:.4f}. Training it again in full precision")
        if error := train(draft, tracking.full_precision_overrides(draft)):
            raise UserError(f"the best draft could not be trained in full precision: {error}")


def close_sweep(
    sweep: "Sweep", folder: Path, status: Literal["FINISHED", "FAILED", "KILLED"], reason: str, **ranking: Any
) -> list["StoredRun"]:
    """End the parent run, print the best job and the folds, and return the runs of the sweep, the best first.

    ranking: what runs are compared by, and whether all have ended, as `tracking.close_sweep` takes it.
    """
    from thaw import tracking

    children = tracking.close_sweep(sweep, status=status, summary={"reason": reason} if reason else None, **ranking)
    values = ranking.get("values")
    best = children[0] if children else None
    value = None if best is None else best.objective if values is None else values.get(best.id)
    if best is not None and value is not None:
        kept = " · the head alone was kept" if best.is_head_alone else ""
        say(f"sweep {sweep.id} · {len(children)} runs · best {value:.4f}: {best.overrides}{kept}")
    if not any(child.repeats_draft for child in children):
        for draft in tracking.best_drafts(children):  # a job failed, or the sweep was stopped
            try:
                command = shlex.join(tracking.full_precision_overrides(draft))
            except UserError:  # its files are gone; what ended the sweep is the error to be told
                continue
            say(
                f"note: the best draft, {draft.id}, was not trained again. In full precision: "
                f"{command_lines.script_command('train')} {command}"
            )
    if summaries := tracking.ranked_fold_summaries(children):
        for summary in summaries:
            say(summary.line())
        file = folder / "folds.json"
        file.write_text(tracking.folds_json(summaries), encoding="utf-8")
        say(f"folds {display_path(file)}")
    return children

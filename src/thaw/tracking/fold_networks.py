"""The networks of a cross-validation: one of each fold, which answer together."""

import sys

from thaw.common.errors import UserError
from thaw.tracking.cross_validation import FOLD_OVERRIDE, fold_summaries
from thaw.tracking.orphaned_runs import SWEEP_TAG
from thaw.tracking.run_lookup import StoredRun

BEST_SETTING_TAG = "thaw.best_setting"


def fold_runs(sweep: StoredRun) -> list[StoredRun]:
    """Return the runs of a sweep's best setting over `split.fold`, one a fold, when all of them kept their networks.

    Otherwise the list is empty; when the sweep is a cross-validation, what is missing is said on standard error.
    """
    finished = {run.id: run for run in sweep.child_runs("FINISHED") if not run.is_draft}
    summaries = fold_summaries(finished.values())
    setting = sweep.tags.get(BEST_SETTING_TAG)
    best = next((summary for summary in summaries if summary.overrides == setting), None)
    if best is None and setting is None and summaries:  # the sweep was killed before it said which is the best
        best = summaries[0]
    if best is None:
        if setting is not None or _sweeps_folds(sweep):
            print(
                f"note: {sweep.id} is a cross-validation of which fewer than two folds"
                f"{f' of its best setting, {setting},' if setting else ''} are finished and in the store: its best run "
                "answers",
                file=sys.stderr,
            )
        return []
    runs = [finished[run_id] for run_id in best.run_ids]
    kept = sum(map(_has_network, runs))
    if kept == best.folds:
        which = f" of its best setting, {best.overrides}" if len(summaries) > 1 else ""
        print(
            f"note: {sweep.id} is a cross-validation: the networks of its {kept} folds answer{which}", file=sys.stderr
        )
        return runs
    print(
        f"note: {sweep.id} is a cross-validation of {best.folds} folds, of which {len(runs)} finished and {kept} kept "
        "the network: its best run answers. All folds keep theirs with tracking.complete=all",
        file=sys.stderr,
    )
    return []


def _sweeps_folds(sweep: StoredRun) -> bool:
    """Return whether a sweep's command names several folds: `split.fold=0,1`, `split.fold=range(5)`."""
    words = sweep.tags.get(SWEEP_TAG, "").split(" ")
    return any(word.startswith(FOLD_OVERRIDE) and not word.removeprefix(FOLD_OVERRIDE).isdigit() for word in words)


def _has_network(run: StoredRun) -> bool:
    try:
        run.model_file()
        run.artifact_path("network")
    except UserError:
        return False
    return True

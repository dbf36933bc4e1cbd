"""Runs of a sweep in draft precision, and those that train its best one again in full precision."""

from collections.abc import Sequence

from thaw.tracking.cross_validation import fold_summaries
from thaw.tracking.run_lookup import StoredRun

_DRAFT, _FULL = "precision=draft", "precision=auto"


def best_drafts(children: Sequence[StoredRun]) -> list[StoredRun]:
    """Return the drafts that a sweep trains again: its best run, or all folds of its best setting; none if no draft.

    children: the sweep's runs, the best objective first.
    """
    if summaries := fold_summaries(children):
        best = [child for child in children if child.id in summaries[0].run_ids]
    else:
        best = [child for child in children[:1] if child.status == "FINISHED" and child.objective is not None]
    return best if any(child.is_draft for child in best) else []


def full_precision_overrides(draft: StoredRun) -> list[str]:
    """Return the overrides with which a draft is trained again in full precision, one an entry, as Hydra takes them."""
    lines = draft.artifact_path("overrides.txt").read_text(encoding="utf-8").split("\n")
    overrides = [line for line in lines if line and not line.lstrip("+~").startswith("hydra")]
    if _DRAFT not in overrides:
        return [*overrides, _FULL]
    return [_FULL if override == _DRAFT else override for override in overrides]

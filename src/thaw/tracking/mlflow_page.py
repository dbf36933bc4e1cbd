"""What MLflow's own page reads from an experiment: its kind, and a saved view, of final figures before others.

The names of MLflow 3.17's page (mlflow/server/js/build); a version that does not know them ignores them.
"""

import json
import re
from collections.abc import Mapping

VIEW_KEY = "thaw"  # a link with ?viewStateShareKey=thaw opens the view
KIND_TAG, VIEW_TAG = "mlflow.experimentKind", f"mlflow.sharedViewState.{VIEW_KEY}"
# "Machine learning", in whose page runs come first; others begin with traces of language models.
_KIND = "custom_model_development"
# What the page itself guesses is no choice of the user's.
_GUESSED = re.compile("no_inferred_type|.*_inferred")
_VIEW_NAME = "final figures"
_COLUMNS = (
    "metrics.`test/accuracy`", "metrics.`val/accuracy`", "metrics.`test/macro_f1`", "metrics.`test/loss`",
    "metrics.`best/epoch`", "metrics.`best/val_loss`", "params.`recipe`", "params.`backbone.name`",
    "attributes.`Dataset`",
)  # fmt: skip
# Groups of charts, and whether they are open; those that are not named, of single classes, follow.
_GROUPS = {
    "test": True, "val": True, "best": True, "epoch": True, "eval": True, "Model metrics": True, "stage": False,
    "parity": False, "System metrics": False,
}  # fmt: skip


def experiment_tags() -> dict[str, str]:
    """Return the tags of an experiment of thaw's: its kind, and the saved view, which a user may change or delete."""
    groups = [
        {"uuid": name, "name": name, "display": is_open, "isReordered": False, "deleted": False, "isGenerated": True}
        for name, is_open in _GROUPS.items()
    ]
    state = {
        "selectedColumns": _COLUMNS,
        "columnOrder": _COLUMNS,
        "compareRunCharts": [],  # the page adds one for each metric, to the group of its name
        "compareRunSections": groups,
        "isAccordionReordered": True,  # else it sorts the groups by name
    }
    view = {"name": _VIEW_NAME, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)}
    return {KIND_TAG: _KIND, VIEW_TAG: json.dumps(view)}


def has_kind(tags: Mapping[str, str]) -> bool:
    """Whether a program or a user has chosen an experiment's kind."""
    kind = tags.get(KIND_TAG)
    return kind is not None and not _GUESSED.fullmatch(kind)

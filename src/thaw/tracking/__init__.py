"""Tracking of runs, sweeps and models in MLflow. No other room imports mlflow, and importing this one does not."""

from thaw.tracking.cross_validation import FoldSummary, fold_summaries, folds_json
from thaw.tracking.draft_runs import best_drafts, full_precision_overrides
from thaw.tracking.evaluation_runs import EVALUATED_RUN_TAG, EVALUATION, KIND_TAG, is_evaluation
from thaw.tracking.fingerprint import (
    CONFIG_LOGGED_TAG,
    FINGERPRINT_PREFIX,
    Fingerprint,
    collect_fingerprint,
    fingerprint_differences,
    fingerprint_entries,
)
from thaw.tracking.fold_networks import fold_runs
from thaw.tracking.folder_owner import check_run_folder, check_single_run, owner_of_folder
from thaw.tracking.mlflow_store import open_store, sqlite_path
from thaw.tracking.model_registry import Candidate
from thaw.tracking.register_best import CANDIDATE_FILE, register_best
from thaw.tracking.reopen import EPOCH_PREFIX, REASON_TAG
from thaw.tracking.reusable_runs import SETTING_TAG, finished_runs_of_setting
from thaw.tracking.run_lock import CWD_TAG, FOLDER_TAG
from thaw.tracking.run_lookup import (
    DRAFT_TAG,
    HEAD,
    KEPT_TAG,
    OVERRIDES_TAG,
    PARENT_TAG,
    REPEATS_DRAFT_TAG,
    StoredRun,
    best_run,
    find_run,
    find_run_of_folder,
    pin_run_weights,
    resolve_run_weights,
)
from thaw.tracking.run_search import search_runs
from thaw.tracking.sweep_runs import (
    STUDY_TAG,
    best_objective,
    close_sweep,
    finished_children,
    open_sweep,
    ranked_children,
    ranked_fold_summaries,
    reopen_sweep,
)
from thaw.tracking.tracked_run import WEIGHTS_TAG, RunNotClosed, TrackedRun, start_run
from thaw.tracking.weights_lineage import Lineage, LineageRun, weights_lineage

__all__ = [
    "CANDIDATE_FILE",
    "CONFIG_LOGGED_TAG",
    "CWD_TAG",
    "DRAFT_TAG",
    "EPOCH_PREFIX",
    "EVALUATED_RUN_TAG",
    "EVALUATION",
    "FINGERPRINT_PREFIX",
    "FOLDER_TAG",
    "HEAD",
    "KEPT_TAG",
    "KIND_TAG",
    "OVERRIDES_TAG",
    "PARENT_TAG",
    "REASON_TAG",
    "REPEATS_DRAFT_TAG",
    "SETTING_TAG",
    "STUDY_TAG",
    "WEIGHTS_TAG",
    "Candidate",
    "Fingerprint",
    "FoldSummary",
    "Lineage",
    "LineageRun",
    "RunNotClosed",
    "StoredRun",
    "TrackedRun",
    "best_drafts",
    "best_objective",
    "best_run",
    "check_run_folder",
    "check_single_run",
    "close_sweep",
    "collect_fingerprint",
    "find_run",
    "find_run_of_folder",
    "fingerprint_differences",
    "fingerprint_entries",
    "finished_children",
    "finished_runs_of_setting",
    "fold_runs",
    "fold_summaries",
    "folds_json",
    "full_precision_overrides",
    "is_evaluation",
    "open_store",
    "open_sweep",
    "owner_of_folder",
    "pin_run_weights",
    "ranked_children",
    "ranked_fold_summaries",
    "register_best",
    "reopen_sweep",
    "resolve_run_weights",
    "search_runs",
    "sqlite_path",
    "start_run",
    "weights_lineage",
]  # fmt: skip

"""The report of a run: assembled from what the run measured, and drawn into its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from thaw.analysis import epochs
from thaw.common.console import say
from thaw.config import command_lines
from thaw.data import manifest
from thaw.report import report_files
from thaw.report.content import BestEpoch, ReportContent
from thaw.results import logged_metrics, plan_blocks, report_tables
from thaw.results.auto_record import auto_facts, read_auto_record
from thaw.results.metrics import Evaluation
from thaw.results.report_pictures import report_pictures
from thaw.results.run_figures import RunFigures

if TYPE_CHECKING:
    from thaw.run_context import RunContext
    from thaw.training.stage_result import TrainingOutcome

REPORT_TAG = "thaw.report"  # of a run: full, short or none as drawn, or failed


def write_run_report(
    context: RunContext, trained: TrainingOutcome, evaluations: Mapping[str, Evaluation], figures: RunFigures
) -> Path | None:
    """Write tables, charts and page into `report/`, log the folder, and return the page; None without one.

    A report that cannot be drawn is told in one line and by the tag `thaw.report`: the run is not lost for it.
    """
    folder, kind, page = context.folder / "report", context.config.report, None
    folder.mkdir(exist_ok=True)
    _write_tables(trained, evaluations["test"], folder)
    if kind != "none":
        try:
            content = _content(context, trained, evaluations["test"], figures)
            report_files.write_report(content, folder, "short" if kind == "short" else "full")
            page = folder / "report.html"
        except Exception as error:  # out of memory, or whatever a picture may raise
            kind = "failed"
            say(f"the report could not be drawn ({type(error).__name__}: {error}); its tables are in {folder.name}/")
    context.tracked.set_tags({REPORT_TAG: kind})
    context.tracked.log_artifact(folder, "report")
    return page


def _write_tables(trained: TrainingOutcome, test: Evaluation, folder: Path) -> None:
    data, names = trained.data, trained.data.class_names
    report_tables.per_class_csv(test, names, folder / "per_class.csv", data.class_counts())
    report_tables.predictions_csv(data.image_names("test"), test, names, folder / "predictions.csv")
    (folder / "history.json").write_text(json.dumps(trained.history(), indent=1))


def _content(context: RunContext, trained: TrainingOutcome, test: Evaluation, figures: RunFigures) -> ReportContent:
    pictures = report_pictures(context, trained, test)
    history = trained.history()
    return ReportContent(
        title=context.tracked.name,
        subtitle=_subtitle(context, trained),
        verdict=figures.verdict,
        facts=_facts(context, trained),
        splits=[figures.test, figures.val],
        history=history,
        best_epochs=_best_epochs(context, trained),
        val_loss_meaning=logged_metrics.val_loss_meaning(context.config),
        plans=plan_blocks.stage_plans(trained),
        seconds=_seconds(context),
        cache={
            "hits": sum(stage.hits for stage in trained.stages),
            "misses": sum(stage.misses for stage in trained.stages),
            "bytes": sum(stage.cache_bytes for stage in trained.stages),
        },
        galleries=pictures.galleries,
        explanations=pictures.explanations,
        feature_maps=pictures.feature_maps,
        inputs=pictures.inputs,
        model_summary=pictures.model_summary,
        remarks=pictures.remarks,
    )


def _seconds(context: RunContext) -> dict[str, float]:
    """Return the seconds by step, and `other` for starting, building and saving; the report's own are not known yet."""
    seconds = {step: value for step, value in context.clock.all().items() if step != "report"}
    return {**seconds, "other": max(0.0, 2 * seconds["total"] - sum(seconds.values()))}


def _subtitle(context: RunContext, trained: TrainingOutcome) -> str:
    counts = {split: len(rows) for split, rows in trained.data.splits.by_name().items()}
    images = " · ".join(f"{split} {count:,}" for split, count in counts.items())
    classes = len(trained.data.class_names)
    return f"{trained.network.backbone.name} · {context.config.recipe} · {classes} classes · {images}"


def _facts(context: RunContext, trained: TrainingOutcome) -> list[tuple[str, str]]:
    config, tracked, data = context.config, context.tracked, trained.data
    sha256 = manifest.data_sha256(data.pixels, data.splits)
    reproduce = command_lines.run_id_command("reproduce", "run", tracked.id, context.folder, config.tracking.uri)
    facts = [
        ("run", tracked.id),
        (
            "data",
            f"{config.dataset.path or config.dataset.name} · sha256 {sha256[:12]}",
        ),
        ("pretrained weights", config.backbone.weights),
        ("engine", trained.engine.summary()),
        ("command", " ".join(("train", *context.job.overrides))),
        ("again", reproduce),
        *auto_facts(read_auto_record(context.folder)),
    ]
    return [(name, value) for name, value in facts if value]


def _best_epochs(context: RunContext, trained: TrainingOutcome) -> list[BestEpoch]:
    train, history = context.config.train, trained.history()
    left_out = {result.stage.name for result in trained.stages if result.left_out}
    restored = bool(train.patience) or train.keep == "best"  # the best weights are brought back
    found = []
    for best in epochs.best_epochs(history):
        last = max(entry["epoch"] for entry in history if entry["stage"] == best.stage)
        accuracy = math.nan if best.val_accuracy is None else best.val_accuracy
        kept = None if best.stage in left_out else restored or best.epoch == last
        found.append(BestEpoch(best.stage, best.epoch, best.val_loss, accuracy, kept))
    return found

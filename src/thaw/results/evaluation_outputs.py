"""What an evaluation leaves: evaluation.json, tables, a report, and a run of its own in the store."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from thaw.analysis.figures import CalibrationFigures, Share, SplitFigures
from thaw.common.console import say
from thaw.common.files import write_json
from thaw.report.figure_tables import write_tables
from thaw.report.report_files import write_report
from thaw.results import evaluation_report, evaluation_seen, report_tables
from thaw.results.evaluation_data import EvaluatedImages
from thaw.results.evaluation_figures import EvaluationFigures, ImageFigures
from thaw.results.evaluation_predictions import EvaluatedPredictions
from thaw.results.evaluation_seen import SeenImage, TrainingRecord
from thaw.results.final_predictions import PARITY_TAG
from thaw.results.logged_metrics import logged_metrics
from thaw.results.run_report import REPORT_TAG
from thaw.tracking import TrackedRun

RESULT_FILE, REPORT_FOLDER = "evaluation.json", "report"


@dataclass(frozen=True, eq=False)
class EvaluatedNetwork:
    """The network of an evaluation. name: its run's, or its folder's. run_id: None where it is not known."""

    name: str
    run_id: str | None
    folder: Path
    network: Any  # models.network.Network, which imports TensorFlow
    weights_sha256: str

    @property
    def class_names(self) -> list[str]:
        """The names of its outputs."""
        return list(self.network.class_names)


@dataclass(frozen=True, eq=False)
class EvaluationOutcome:
    """All that an evaluation found out.

    seen: images that the network has seen, with their names. excluded: whether they are left out. seconds: by step.
    """

    network: EvaluatedNetwork
    data: EvaluatedImages
    record: TrainingRecord
    seen: Sequence[tuple[str, SeenImage]]
    excluded: bool
    predictions: EvaluatedPredictions
    figures: EvaluationFigures
    seconds: Mapping[str, float]

    def seen_counts(self) -> dict[str, int]:
        """Return how many images of the data set were trained on and how many only validated on."""
        return evaluation_seen.count_seen(image for _, image in self.seen)

    def result(self, dataset: Mapping[str, Any], evaluation_run: str | None) -> dict[str, Any]:
        """Return the content of evaluation.json; keys are only ever added. dataset: its name, path and split."""
        figures, record = self.figures, self.record
        return {
            "run_id": self.network.run_id,
            "evaluation_run_id": evaluation_run,
            "model": self.network.folder,
            "weights_sha256": self.network.weights_sha256,
            "dataset": {**dataset, "title": self.data.title, "covers": self.data.covers},
            "data_sha256": self.data.data_sha256(),
            **_figures_entry(figures.all_images),
            "without_seen": _figures_entry(figures.without_seen) if figures.without_seen else None,
            "seen": {
                **self.seen_counts(),
                "excluded": self.excluded,
                "runs": list(record.run_ids),
                "unknown": list(record.unknown),
            },
            "trusted": not figures.warning() and not figures.record_gap,
            "verdict": list(figures.verdict().lines),
            "calibration": _calibration_entry(figures.all_images.split),
            "class_names": self.network.class_names,
            "missing_classes": self.data.missing_classes(self.network.class_names),
            "unknown_classes": self.data.unknown_classes,
            "bad_files": self.data.bad_files,
            "engine": asdict(self.predictions.choice),
            "parity": self.predictions.parity,
            "seconds": dict(self.seconds),
        }


def _figures_entry(figures: ImageFigures) -> dict[str, Any]:
    share: Share = figures.split.accuracy
    return {
        "images": figures.split.images,
        "metrics": figures.evaluation.metrics,
        "accuracy_interval": [share.low, share.high],
    }


def _calibration_entry(split: SplitFigures) -> dict[str, Any]:
    def entry(figures: CalibrationFigures) -> dict[str, float]:
        return {"ece": figures.ece, "brier": figures.brier, "nll": figures.nll}

    calibrated = None if split.calibrated is None else entry(split.calibrated)
    return {"temperature": split.temperature, **entry(split.calibration), "calibrated": calibrated}


def write_outputs(
    outcome: EvaluationOutcome, dataset: Mapping[str, Any], folder: Path, report: str, evaluation_run: str | None
) -> str:
    """Write the tables, the report and evaluation.json; return `report`, or "failed" where it could not be drawn.

    Args:
        outcome: Of the evaluation.
        dataset: Its name, path and split.
        folder: Of the evaluation.
        report: full, short, or none for tables alone.
        evaluation_run: The id of the evaluation's own run, if there is one.
    """
    tables = folder / REPORT_FOLDER
    tables.mkdir(exist_ok=True)
    data, class_names = outcome.data, outcome.network.class_names
    evaluation = outcome.figures.all_images.evaluation
    report_tables.predictions_csv(data.names, evaluation, class_names, tables / "predictions.csv")
    if outcome.seen:
        text = evaluation_seen.seen_csv(outcome.seen)
        (tables / evaluation_seen.SEEN_FILE).write_bytes(text.encode("utf-8", "surrogateescape"))
    write_json(outcome.result(dataset, evaluation_run), folder / RESULT_FILE)
    try:
        content = evaluation_report.report_content(outcome, dataset, report)
        if report == "none":
            write_tables(content.splits, tables)
        else:
            write_report(content, tables, "full" if report == "full" else "short")
    except Exception as error:  # out of memory, or whatever a picture may raise: the figures stand
        say(f"the report could not be drawn ({type(error).__name__}: {error}); its tables are in {tables.name}/")
        return "failed"
    return report


def log_outcome(tracked: TrackedRun, outcome: EvaluationOutcome, folder: Path, source: str, report: str) -> None:
    """Log the figures, the data set and the files to the evaluation's own run.

    source: where the data set is. report: as `write_outputs` returned it.
    """
    figures, data = outcome.figures, outcome.data
    metrics = {f"eval/{name}": value for name, value in figures.all_images.evaluation.metrics.items()}
    if figures.without_seen:
        unseen = figures.without_seen.evaluation.metrics
        metrics |= {f"eval_without_seen/{name}": unseen[name] for name in ("accuracy", "loss", "macro_f1")}
        metrics["eval_without_seen/images"] = figures.without_seen.split.images
    metrics |= {f"eval/seen_{split}": count for split, count in outcome.seen_counts().items()}
    metrics["eval/images"] = figures.all_images.split.images
    tracked.log_metrics(logged_metrics(metrics, [], len(outcome.network.class_names)))
    profile = {"images": len(data.indices), "classes": len(outcome.network.class_names), "bad": data.bad_files}
    tracked.log_dataset(data.title, data.data_sha256(), source, profile=profile, context="evaluation")
    tracked.set_note(figures.verdict().sentence)
    tracked.set_tags({PARITY_TAG: outcome.predictions.verdict(), REPORT_TAG: report})
    tracked.log_artifact(folder / REPORT_FOLDER, REPORT_FOLDER)
    tracked.log_artifact(folder / RESULT_FILE)

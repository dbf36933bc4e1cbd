"""The report of an evaluation, assembled from what it found out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thaw.common.console import printable
from thaw.report.content import ReportContent
from thaw.results import evaluation_seen, report_galleries, report_pictures
from thaw.results.evaluation_data import class_lines
from thaw.results.report_pictures import ReportPictures

if TYPE_CHECKING:
    from thaw.results.evaluation_outputs import EvaluationOutcome


def report_content(outcome: EvaluationOutcome, dataset: Mapping[str, Any], kind: str) -> ReportContent:
    """Return what the report shows.

    Args:
        outcome: Of the evaluation.
        dataset: Its name, path and split.
        kind: full, short, or none, without pictures.
    """
    network, data, figures = outcome.network, outcome.data, outcome.figures
    pictures = _pictures(outcome, kind)
    return ReportContent(
        title=f"{printable(network.name)} on {data.title}",
        subtitle=f"evaluation on {data.covers}",
        verdict=figures.verdict(),
        facts=_facts(outcome, dataset),
        splits=[figures.all_images.split, *([figures.without_seen.split] if figures.without_seen else [])],
        galleries=pictures.galleries,
        explanations=pictures.explanations,
        model_summary=pictures.model_summary,
        seconds=outcome.seconds,
        remarks=[*_remarks(outcome), *pictures.remarks],
    )


def _pictures(outcome: EvaluationOutcome, kind: str) -> ReportPictures:
    made = ReportPictures()
    if kind == "none":
        return made
    from thaw.results import network_pictures

    data, network, probabilities = outcome.data, outcome.network, outcome.predictions.probabilities
    pixels, indices, labels, names = data.pixels, data.indices, data.labels, network.class_names
    made.galleries = made.attempt(
        "galleries",
        lambda: report_galleries.galleries(pixels, indices, data.names, probabilities, labels, names),
        [],
    )
    model = network.network.model
    made.model_summary = made.attempt("lines on the model", lambda: network_pictures.model_summary(model), "")
    if kind == "full":
        count = report_pictures.explained_count(network.network)
        chosen = report_galleries.to_explain(probabilities, labels, count)
        hits, mistakes = (report_galleries.readable(pixels, indices, positions) for positions in chosen)
        predicted = network_pictures.PredictedImages(pixels, indices, labels, probabilities, names)
        made.explanations = made.attempt(
            "heat maps", lambda: network_pictures.explanations(model, predicted, hits, mistakes), []
        )
    return made


def _facts(outcome: EvaluationOutcome, dataset: Mapping[str, Any]) -> list[tuple[str, str]]:
    network, data, choice = outcome.network, outcome.data, outcome.predictions.choice
    return [
        ("network", network.name),
        ("run", network.run_id or "unknown"),
        ("data", f"{dataset['path'] or dataset['name']} · sha256 {data.data_sha256()[:12]}"),
        ("images", data.covers),
        ("weights", f"sha256 {network.weights_sha256[:12]}"),
        ("engine", f"{choice.engine} in {choice.frozen}"),
        ("parity", outcome.predictions.verdict()),
    ]


def _remarks(outcome: EvaluationOutcome) -> list[str]:
    data = outcome.data
    remarks = class_lines(data, outcome.network.class_names)
    if outcome.excluded and outcome.seen:
        remarks.append(f"{evaluation_seen.describe_seen(outcome.seen_counts())}; they are left out: seen.csv")
    elif outcome.seen:
        remarks.append("seen.csv names the images that the network has seen, here and in its training")
    if data.bad_files:
        remarks.append(f"{data.bad_files:,} files cannot be used and are left out: bad_files.csv")
    return remarks

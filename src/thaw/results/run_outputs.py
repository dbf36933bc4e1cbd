"""What a run leaves when it has trained: metrics, report, saved model, features, result.json and the last lines."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thaw import run_fingerprint, tracking
from thaw.common.console import display_path, say
from thaw.common.errors import UserError
from thaw.common.files import write_json
from thaw.config import command_lines, stored_config
from thaw.data import manifest
from thaw.models import saved_model
from thaw.results import classifier, logged_metrics, model_card, served_model
from thaw.results.auto_record import AUTO_FILE, read_auto_record
from thaw.results.metrics import Evaluation
from thaw.results.result import OBJECTIVE, Objective, RunResult, write_result
from thaw.results.run_figures import RunFigures
from thaw.run_context import RunContext
from thaw.training.stage_result import StageResult, TrainingOutcome

_NETWORK_ARTIFACTS = (
    saved_model.CLASSES_FILE,
    saved_model.CONFIG_FILE,
    saved_model.GRAPH_FILE,
    saved_model.CALIBRATION_FILE,
    model_card.CARD_FILE,
)


def log_final_metrics(
    context: RunContext, trained: TrainingOutcome, evaluations: Mapping[str, Evaluation]
) -> dict[str, float]:
    """Log the figures of all splits and of the best epoch; return those of the splits, such as `test/accuracy`.

    They are of the whole run, at no epoch: of metrics at a later step than 0 MLflow draws curves, which are single
    points here, and of others bars that compare runs.
    """
    metrics = {f"{split}/{name}": value for split, e in evaluations.items() for name, value in e.metrics.items()}
    classes = len(trained.data.class_names)
    context.tracked.log_metrics(logged_metrics.logged_metrics(metrics, trained.history(), classes))
    return metrics


def keeps_model(context: RunContext, objective: float, *, draft: bool = False) -> bool:
    """Whether the run keeps its model, report and predictions: a sweep's job only if it is the best so far.

    A sweep's drafts keep nothing, as the best of them is trained again; that run is the sweep's result.
    """
    job, options, best = context.job, context.config.tracking, None
    if job.parent_run_id is not None and options.complete == "best" and draft:
        context.tracked.set_tags({"thaw.complete": False})
        return False
    # A resumed run has its tags in the store only.
    repeats_draft = tracking.REPEATS_DRAFT_TAG in {**context.tracked.resumed_tags, **job.tags}
    if not repeats_draft and job.parent_run_id is not None and options.complete == "best":
        best = tracking.best_objective(context.tracked, job.parent_run_id)
    complete = options.complete != "none" and (best is None or objective > best)
    context.tracked.set_tags({"thaw.complete": complete})
    if best is not None and not complete:
        say(f"figures only: {best:.4f} was reached before in this sweep (tracking.complete=all keeps everything)")
    return complete


def save_model(
    context: RunContext,
    trained: TrainingOutcome,
    figures: RunFigures,
    parity: Mapping[str, Any],
    quantization: Mapping[str, Any],
) -> Path:
    """Save the network with what it was judged with into `model/`, log it if so configured, and return its .keras file.

    parity, quantization: as result.json has them; of a run in int8 the quantised part is in `model/` already.
    """
    network, folder = trained.network, context.folder / "model"
    config, logged = stored_config.config_yaml(context.config), None
    saved_model.save_description(network, config, folder)
    write_json(figures.calibration_entry(), folder / saved_model.CALIBRATION_FILE)
    settings = classifier.settings_of_content(_judged_with(trained, parity, quantization))
    classifier.write_settings(settings, folder)
    card = model_card.model_card(context, trained, figures)
    (folder / model_card.CARD_FILE).write_text(card, encoding="utf-8")
    if context.config.tracking.log_model:
        names: dict[str, object] = {"class_names": list(network.class_names)}
        parts = served_model.served_model_parts(folder, settings, card, names)
        logged = context.tracked.log_model(network.model, metadata=parts.metadata, parts=parts)
    saved = saved_model.save_network(network, config, folder, logged)
    for name in _NETWORK_ARTIFACTS:
        context.tracked.log_artifact(folder / name, "network")  # `model` is the name of the logged model
    return saved.weights_file


def _judged_with(
    trained: TrainingOutcome, parity: Mapping[str, Any], quantization: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the keys of result.json that say what computed the predictions."""
    return {
        "stages": [_stage_entry(stage) for stage in trained.stages],
        "engine": dataclasses.asdict(trained.engine),
        "parity": parity,
        "quantization": quantization,
    }


def register_network(context: RunContext, trained: TrainingOutcome, metrics: Mapping[str, float]) -> None:
    """Register the logged network as `tracking.register` asks, and print what was done; the run is done in any case.

    A sweep registers its best network alone, at its end: its jobs leave what that needs.
    """
    name, data = context.config.tracking.register, trained.data
    if name is None:
        return
    candidate = tracking.Candidate(
        manifest.split_sha256(data.pixels, data.splits, "test"),
        metrics["test/accuracy"],
        metrics["test/loss"],
        len(data.splits.test),
        (context.folder / "model" / model_card.CARD_FILE).read_text(encoding="utf-8"),
    )
    if context.job.parent_run_id is not None:
        context.tracked.log_text(candidate.to_json(), tracking.CANDIDATE_FILE)
        return
    try:
        context.tracked.flush()
        say(context.tracked.register_model(name, candidate))
    except UserError as error:
        say(f"tracking.register={name} is not done: {error}")


def export_run_features(context: RunContext, trained: TrainingOutcome) -> None:
    """Write the features that the head was trained on into `features/`: a file for each split or view of it."""
    from thaw.frozen import feature_export
    from thaw.frozen.activations import build_frozen_part
    from thaw.models.network import feature_cut

    last, network, cache = trained.stages[-1], trained.network, context.cache
    cut, backbone, calibration = feature_cut(network), context.config.backbone, trained.calibration()
    frozen = build_frozen_part(network, cut, backbone, trained.engine, network_cache=cache, calibration=calibration)
    kept_in = cache if last.features_kept else None
    for split, indices in trained.data.splits.by_name().items():
        for view in trained.data.views(split, min(context.config.cache.views, last.stage.epochs)):
            file = context.folder / "features" / (split if view is None else f"{split}-view{view.number + 1}")
            feature_export.export_features(frozen, kept_in, trained.data.pixels, indices, view, file)


def write_run_result(
    context: RunContext,
    trained: TrainingOutcome,
    metrics: Mapping[str, float],
    parity: Mapping[str, Any],
    figures: RunFigures,
    *,
    pretrained_sha256: str,
    model_file: Path | None,
    page: Path | None,
    quantization: Mapping[str, Any],
) -> RunResult:
    """Write and log result.json, print the last lines, and return the result.

    pretrained_sha256: of the backbone's weights as they were loaded. model_file: None if the model was not kept.
    page: the report's, None without one.
    quantization: of a run in int8, as result.json has it.
    """
    from thaw.models.graph_digest import graph_sha256
    from thaw.models.weights_hash import weights_sha256

    network, data, stages = trained.network, trained.data, trained.stages
    seconds, misses = context.clock.all(), sum(stage.misses for stage in stages)
    speeds = {"train": len(trained.history()) * len(data.splits.train) / seconds["train"]}
    if misses:
        speeds["extract"] = misses / seconds["extract"]
    speeds["evaluate"] = len(data.splits.test) / seconds["evaluate"]
    result = RunResult(
        run_id=context.tracked.id,
        objective=Objective(OBJECTIVE, metrics[OBJECTIVE]),
        metrics=metrics,
        stages=[_stage_entry(stage) for stage in stages],
        seconds=seconds,
        images_per_second=speeds,
        weights_sha256=weights_sha256(network.model),
        graph_sha256=graph_sha256(network.model),
        config_sha256=run_fingerprint.config_sha256(context.config, pretrained_sha256, trained.cuts(), trained.engine),
        data_sha256=manifest.data_sha256(data.pixels, data.splits),
        model=str(model_file) if model_file else None,
        class_names=network.class_names,
        cache={
            "hits": sum(stage.hits for stage in stages),
            "misses": misses,
            "bytes": sum(stage.cache_bytes for stage in stages),
        },
        engine=dataclasses.asdict(trained.engine),
        parity=parity,
        quantization=quantization,
        calibration=figures.calibration_entry(),
        verdict=list(figures.verdict.lines),
        report=str(page) if page else None,
        auto=read_auto_record(context.folder),
    )
    file = context.folder / "result.json"
    write_result(result, file)
    context.tracked.log_artifact(file)
    if result.auto:
        context.tracked.log_artifact(context.folder / AUTO_FILE)
    context.tracked.set_tags({tracking.WEIGHTS_TAG: result.weights_sha256})
    if not all(stage["kept"] for stage in result.stages):
        context.tracked.set_tags({tracking.KEPT_TAG: tracking.HEAD})
    context.tracked.set_note(_note(figures.verdict.sentence, page))
    _print_summary(context, result)  # before the store is told: it may refuse, and the result is there all the same
    return result


def _note(sentence: str, page: Path | None) -> str:
    """Return the run's description in the store: the verdict, and where the report is."""
    return sentence + (f"\n\nReport: artifact `report/{page.name}`" if page else "")


def _stage_entry(result: StageResult) -> dict[str, Any]:
    return {
        "name": result.stage.name,
        "epochs": len(result.fit.history),
        "seconds": result.extract_seconds + result.fit.seconds,
        "learning_rate": result.stage.optimizer.learning_rate,
        "learning_rate_found": result.stage.rate_found,
        "frozen_layers": result.plan.boundary,
        "trainable_params": result.trainable_params,
        "boundary": result.plan.last_frozen_layer,
        "cut": result.planned.cut.index,
        "kept": result.left_out is None,
    }


def _print_summary(context: RunContext, result: RunResult) -> None:
    metrics, options = result.metrics, context.config.tracking
    say(
        f"test accuracy {metrics['test/accuracy']:.4f} · macro F1 {metrics['test/macro_f1']:.4f} · "
        f"val accuracy {metrics['val/accuracy']:.4f} · {result.seconds['total']:.0f} s"
    )
    for line in (*result.verdict, *result.auto.get("lines", ())):
        say(f"  {line}")
    say(f"result {display_path(context.folder / 'result.json')}")
    if result.report:
        say(f"report {display_path(Path(result.report))}")
    if result.model:
        uri = options.uri if options.log_model else "only in the folder"
        predict = command_lines.run_id_command("predict", "model", result.run_id, context.folder, uri)
        say(f"predict: {predict} images='FOLDER/*.jpg'")

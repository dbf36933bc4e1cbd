"""One run, from configuration to result, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from thaw import run_fingerprint, tracking, weights_leakage
from thaw.common import devices, tensorflow_setup
from thaw.common.console import say
from thaw.common.errors import UserError
from thaw.common.hardware import detect_hardware
from thaw.config.job import Job
from thaw.config.schema import BackboneConfig, Config
from thaw.data.dataset import Dataset
from thaw.frozen.configured_engine import check_supported, configured_engine, is_draft
from thaw.frozen.engine import EngineChoice
from thaw.results import run_outputs
from thaw.results.final_predictions import trusted_predictions
from thaw.results.metrics import evaluate
from thaw.results.quantized_network import compare_with_float32, save_quantized_part
from thaw.results.result import OBJECTIVE, RunResult
from thaw.results.run_figures import run_figures
from thaw.results.run_report import write_run_report
from thaw.run_context import open_run
from thaw.run_data import load_run_data, with_pinned_backbone
from thaw.run_training import train_stages
from thaw.training.stage_result import TrainingOutcome

if TYPE_CHECKING:  # TensorFlow is imported when the data has been read
    from thaw.models.network import Network


def run(config: Config, job: Job) -> RunResult:
    """Train as configured and return the result; raises UserError for what the user can mend."""
    if config.recipe == "auto":  # of a sweep, whose jobs would each have the whole machine's time to themselves
        raise UserError(
            "recipe=auto chooses its settings itself, for a single run: leave -m out, or sweep recipe=finetune"
        )
    resumed = job.resumed_run_id is not None
    if not resumed:
        config = with_pinned_backbone(config)
    if job.parent_run_id is None:  # a sweep's job leaves a failed run instead, so that every job has its child
        check_supported(config)
        _training_devices(config, resumed)
    with open_run(config, job) as context:
        tracked = context.tracked
        asked = run_fingerprint.with_stored_engine(config, tracked.resumed_tags)
        check_supported(asked)
        spread = _training_devices(config, resumed)
        backbone = tracking.resolve_run_weights(config.backbone, config.tracking.uri, Path(config.outputs))

        data = load_run_data(context)
        weights_leakage.check_leakage(config, data, tracked)

        draft = is_draft(config)
        choice = _choose_engine(asked, tracked, draft=draft, spread=spread)
        tensorflow_setup.start_tensorflow(config.seed, config.deterministic, choice.tf32)
        with devices.variables_on(choice.devices):
            network, pretrained_sha256 = _build_network(config, backbone, data, tracked)
        trained = TrainingOutcome(network, choice, data, train_stages(context, choice, network, data))

        data.pixels.check_unchanged()  # cached pixels and activations would not show it
        with context.clock("evaluate"):
            predictions = trusted_predictions(context, trained)
            quantization = compare_with_float32(context, trained, predictions.probabilities["test"])
        evaluations = {
            split: evaluate(probabilities, data.labels(split), data.class_names)
            for split, probabilities in predictions.probabilities.items()
        }
        metrics = run_outputs.log_final_metrics(context, trained, evaluations)

        figures = run_figures(context, trained, evaluations)
        model_file = page = None
        if run_outputs.keeps_model(context, metrics[OBJECTIVE], draft=draft):
            quantization |= save_quantized_part(context, trained, context.folder / "model")
            model_file = run_outputs.save_model(context, trained, figures, predictions.parity, quantization)
            if config.recipe == "bottleneck":
                run_outputs.export_run_features(context, trained)
            with context.clock("report"):
                page = write_run_report(context, trained, evaluations, figures)
        tracked.log_objective(OBJECTIVE, metrics[OBJECTIVE])  # last: a run that failed is not a sweep's best
        result = run_outputs.write_run_result(
            context,
            trained,
            metrics,
            predictions.parity,
            figures,
            pretrained_sha256=pretrained_sha256,
            model_file=model_file,
            page=page,
            quantization=quantization,
        )
        if model_file:
            run_outputs.register_network(context, trained, metrics)
        return result


def _training_devices(config: Config, resumed: bool) -> int:
    """Return how many devices train; only TensorFlow knows that, so it is imported where several are asked for."""
    if config.distribute == "none":
        return 1
    tensorflow_setup.import_tensorflow()
    return devices.training_devices(config.distribute, detect_hardware(), config.train.batch_size, resumed=resumed)


def _choose_engine(config: Config, tracked: tracking.TrackedRun, *, draft: bool, spread: int) -> EngineChoice:
    """Choose what runs the frozen layers, and each precision; logged, so that a rerun elsewhere can do the same.

    draft: the run was asked for as a draft; of a resumed one `config` has the precisions that were chosen for it.
    spread: over how many devices training is spread.
    """
    choice, lines = configured_engine(config, draft=draft, devices=spread)
    run_fingerprint.report_device_change(tracked, choice.device, choice.devices)
    tracked.set_tags({**run_fingerprint.engine_tags(choice), **({tracking.DRAFT_TAG: True} if draft else {})})
    run_fingerprint.log_entry(tracked, run_fingerprint.DEVICE, choice.device)
    if config.distribute != "none":
        run_fingerprint.log_entry(tracked, run_fingerprint.DEVICES, str(choice.devices))
    for line in lines:
        say(line)
    return choice


def is_computed_alike(tags: Mapping[str, str], config: Config) -> bool:
    """Return whether a run of these tags computed with what a run of this config would choose on this machine."""
    choice, _ = configured_engine(config, draft=is_draft(config), devices=_training_devices(config, resumed=False))
    return run_fingerprint.has_engine(tags, choice)


def _build_network(
    config: Config, backbone: BackboneConfig, data: Dataset, tracked: tracking.TrackedRun
) -> tuple[Network, str]:
    """Build backbone and head, and return them with the sha256 of the backbone's weights as they were loaded."""
    from thaw.models import backbone_reuse, graph_digest, network

    built, sha256 = backbone_reuse.build_or_reuse(backbone, config.seed)
    joined = network.attach_head(built, config.head, data.class_names)
    graph = graph_digest.graph_sha256(joined.model)
    run_fingerprint.check_same_graph(tracked.resumed_tags, backbone)
    run_fingerprint.check_same_hash(tracked, run_fingerprint.GRAPH_SHA256, graph, "the network's graph")
    run_fingerprint.check_same_hash(tracked, run_fingerprint.WEIGHTS_SHA256, sha256, "the pretrained weights")
    run_fingerprint.log_entry(tracked, run_fingerprint.GRAPH_SHA256, graph)
    run_fingerprint.log_entry(tracked, run_fingerprint.WEIGHTS_SHA256, sha256)
    if backbone.weights == "none" and config.recipe == "finetune" and config.finetune.batchnorm == "frozen":
        say("note: random weights learn little with finetune.batchnorm=frozen, which keeps untrained statistics")
    say(
        f"network: {built.name} · {built.image_size}x{built.image_size} · weights {config.backbone.weights} · "
        f"{joined.model.count_params():,} parameters with head {config.head.name}"
    )
    return joined, sha256

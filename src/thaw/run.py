"""The spine: one run, from configuration to result, in the order the README tells it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thaw import leakage, run_record, tracking
from thaw.cache import DiskCache
from thaw.common import backend, environment
from thaw.common.console import display_path, say
from thaw.config import command_lines, stored_config
from thaw.config.job import Job
from thaw.config.schema import BackboneConfig, Config
from thaw.data import duplicates, manifest, pixels, prepare, quarantine, splits
from thaw.data.dataset import Dataset
from thaw.data.scan import ScanResult
from thaw.frozen import engine
from thaw.frozen.engine import EngineChoice
from thaw.models import backbone_table, saved_model
from thaw.results import report
from thaw.results.evaluate import Evaluation, evaluate
from thaw.results.final_predictions import check_predictions
from thaw.results.result import Objective, RunResult, write_result
from thaw.tracking import TrackedRun
from thaw.training import recipes
from thaw.training.checkpoint import Checkpoint, CheckpointDir

if TYPE_CHECKING:  # TensorFlow is imported when the data has been read
    from thaw.models.freeze import FreezePlan
    from thaw.models.network import Network
    from thaw.training.stages import PlannedStage, StageResult

OBJECTIVE = "val/accuracy"


def run(config: Config, job: Job) -> RunResult:
    """Train as configured and return the result; raises UserError for what the user can mend."""
    if job.parent_run_id is None:  # a sweep's job leaves a failed run instead, so that every job has its child
        _check(config)
    name = f"{config.recipe}-{config.backbone.name}-{config.dataset.name}"
    tags = {tracking.OVERRIDES_TAG: " ".join(job.overrides), "thaw.recipe": config.recipe, **job.tags}
    clock = Clock()
    with (
        run_record.remove_checkpoints_at_end(config, job),
        tracking.start_run(
            config.tracking, Path(config.outputs), name=name, folder=job.folder, tags=tags, parent=job.parent_run_id,
            resume=job.resumed_run_id,
        ) as tracked,
        run_record.resumable_run(tracked, name, config, job) as checkpoints,
    ):  # fmt: skip
        chosen = run_record.with_stored_engine(config, tracked.resumed_tags)
        _check(chosen)
        backbone = tracking.resolve_run_weights(config.backbone, config.tracking.uri, Path(config.outputs))

        outputs = Path(config.outputs).expanduser().absolute()
        store = DiskCache(Path(config.cache.dir).expanduser().absolute(), config.cache.max_gb * 1e9, outputs=outputs)
        with clock("scan"):
            data = _read_data(config, store, tracked, job.folder)
        leakage.check_leakage(config, data, tracked)

        choice = _choose(chosen, tracked)
        backend.start_tensorflow(config.seed, config.deterministic, choice.tf32)
        network, initial_sha256 = _build(config, backbone, data, tracked)
        places = job.cuts or run_record.stored_cuts(tracked.resumed_tags)
        results, cuts = _train(config, choice, store, network, data, tracked, clock, checkpoints, places)

        data.pixels.check_unchanged()  # kept pixels and activations would not tell
        with clock("evaluate"):
            judged = check_predictions(choice, store, config.backbone, network, data, results, tracked)
        evaluations = {
            name: evaluate(p, data.labels(name), data.class_names) for name, p in judged.probabilities.items()
        }
        metrics = _log_metrics(results, evaluations, tracked)
        kept = None
        if _complete(config, job, tracked, metrics[OBJECTIVE]):
            _report(data, results, evaluations, tracked, job.folder)
            kept = _keep(config, network, tracked, job.folder)
            if config.recipe == "bottleneck":
                _export_features(config, choice, store, network, data, results[-1], job.folder / "features")
        tracked.log_objective(OBJECTIVE, metrics[OBJECTIVE])  # last: a run that failed is not a sweep's best
        sha256 = config_sha256(config, initial_sha256, cuts, choice)
        result = _result(sha256, choice, tracked, network, data, results, cuts, metrics, kept, clock)
        result = dataclasses.replace(result, parity=judged.parity)
        write_result(result, job.folder / "result.json")
        tracked.log_artifact(job.folder / "result.json")
        tracked.set_tags({tracking.WEIGHTS_TAG: result.weights_sha256})
        _summary(result, config, job)  # before the store is told: it may refuse, and the result is there all the same
    return result


def _check(config: Config) -> None:
    """Refuse what backbone or machine cannot do, before the data is read and TensorFlow imported."""
    environment.check_variables()
    backbone_table.check_backbone(config.backbone)
    engine.check_engine(config.engine, config.precision, config.frozen_precision, backend.detect_processor())


class Clock:
    """Seconds by name: `with clock("train"): ...` adds to them."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.seconds: dict[str, float] = {"scan": 0.0, "extract": 0.0, "train": 0.0, "evaluate": 0.0}
        self._name, self._since = "", 0.0

    def __call__(self, name: str) -> Clock:
        self._name, self._since = name, time.perf_counter()
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self.seconds[self._name] += time.perf_counter() - self._since

    def all(self) -> dict[str, float]:
        return {"total": self.total(), **self.seconds}

    def total(self) -> float:
        return time.perf_counter() - self.started


def config_sha256(
    config: Config, weights: str = "", cuts: tuple[int, ...] = (), choice: EngineChoice | None = None
) -> str:
    """sha256 of the resolved config, without the keys that change no number (`stored_config.RESULT_NEUTRAL_KEYS`).

    weights: sha256 of the backbone's as they were loaded; it takes the place of a file's or a run's name. cuts: where
    the stages were cut: `cache.max_gb` decides on it, with the room there was, and a cheaper cut rounds differently.
    choice: what `auto` came to on this machine.
    """
    content = dict(stored_config.flatten(dataclasses.asdict(config)))
    content = {key: value for key, value in content.items() if not stored_config.is_result_neutral(key)}
    if config.backbone.weights not in ("imagenet", "none"):
        content["backbone.weights"] = weights
    content["cuts"] = cuts
    if choice is not None:
        content |= {"engine": choice.engine, "precision": choice.trained, "frozen_precision": choice.frozen}
        content |= {"device": choice.device, "tf32": choice.tf32}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _read_data(config: Config, store: DiskCache, tracked: TrackedRun, folder: Path) -> Dataset:
    """List, hash and judge all images, leave bad ones out, split; pixels are decoded for those that are used."""
    found, spaces = prepare.scan_dataset(
        config.dataset,
        store,
        backbone_table.image_size(config.backbone),
        pixels_every_epoch=recipes.runs_images_every_epoch(config),
    )
    _judge_bad(config, found, tracked, folder)
    chosen = prepare.split_dataset(found, config.dataset, config.split, config.seed)
    data = Dataset(pixels.from_scan(found, chosen.all_indices(), spaces), chosen, config.augment, config.seed)
    _log_data(config, found, data, tracked, folder)
    return data


def _judge_bad(config: Config, found: ScanResult, tracked: TrackedRun, folder: Path) -> None:
    """List what cannot be used, in the store too, before it may end the run."""
    if not found.bad_files:
        return
    began = not run_record.has_entry(tracked, run_record.DATA_SHA256)
    file = folder / (
        quarantine.BAD_FILES_CSV if began else f"resumed_{quarantine.BAD_FILES_CSV}"
    )  # that of the beginning stays
    _log_file(quarantine.bad_files_csv(found), file, tracked)
    say(
        quarantine.quarantine_or_raise(
            found, config.dataset.on_bad, config.dataset.max_bad_fraction, str(display_path(file))
        )
    )


def _log_data(config: Config, found: ScanResult, data: Dataset, tracked: TrackedRun, folder: Path) -> None:
    name, catalog, chosen = config.dataset.name, found.catalog, data.splits
    sha256 = manifest.data_sha256(data.pixels, chosen)
    run_record.check_unchanged(tracked, run_record.DATA_SHA256, sha256, "the data")
    counts = {split: len(indices) for split, indices in chosen.by_name().items()}
    profile = {
        "images": len(chosen.all_indices()),
        "classes": len(catalog.class_names),
        **counts,
        "bad": len(found.bad_files),
        "class_names": list(catalog.class_names),  # in the order of the network's outputs
    }
    if not run_record.has_entry(tracked, run_record.DATA_SHA256):
        _log_file(manifest.manifest_csv(found, chosen), folder / "manifest.csv", tracked)
        tracked.log_dataset(name, sha256, config.dataset.path or name, profile=profile)
        run_record.log_entry(tracked, run_record.DATA_SHA256, sha256)  # last: what it stands for is there
    say(
        f"data: {name} · {len(catalog.class_names)} classes · train {counts['train']:,} · val {counts['val']:,} · "
        f"test {counts['test']:,} · sha256 {sha256[:12]}"
    )
    lacking = splits.missing_class_warnings(chosen, catalog.labels, catalog.class_names)
    remarks = quarantine.data_remarks(found, config.dataset.bits)
    for line in (*remarks, *lacking, *duplicates.duplicate_warnings(catalog, found.sha256)):
        say(f"  {line}")
    for line in (splits.describe_fold(config.split.folds, config.split.fold), data.describe_imbalance(config.train)):
        if line:
            say(line)


def _log_file(text: str, file: Path, tracked: TrackedRun) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")
    tracked.log_artifact(file)


def _choose(config: Config, tracked: TrackedRun) -> EngineChoice:
    """What runs and what trains in which precision; recorded, so that a rerun elsewhere can be told to do the same."""
    backend.import_tensorflow()
    hardware = backend.detect_hardware()
    choice = engine.choose_engine(
        config.engine,
        config.precision,
        config.frozen_precision,
        depthwise=backbone_table.backbone_spec(config.backbone.name).depthwise,
        trains_backbone=config.recipe != "bottleneck",
        hardware=hardware,
        deterministic=config.deterministic,
    )
    run_record.report_device_change(tracked, choice.device)
    tracked.set_tags(
        {
            run_record.ENGINE_TAG: f"{choice.engine} {choice.version}",
            "thaw.precision": choice.trained,
            "thaw.frozen_precision": choice.frozen,
        }
    )
    run_record.log_entry(tracked, run_record.DEVICE, choice.device)
    say(f"engine: {choice.summary()}")
    if remark := hardware.unused_gpu_note():
        say(remark)
    return choice


def _build(config: Config, backbone: BackboneConfig, data: Dataset, tracked: TrackedRun) -> tuple[Network, str]:
    """Return the network, and the sha256 of the backbone's weights as they were loaded."""
    import keras

    from thaw.models import backbone_reuse, graph_digest, network

    built, sha256 = backbone_reuse.build_or_reuse(backbone, config.seed)
    keras.utils.set_random_seed(config.seed)  # the head's first weights do not depend on how the backbone came
    joined = network.attach_head(built, config.head, data.class_names)
    graph = graph_digest.graph_sha256(joined.model)
    run_record.check_same_graph(tracked.resumed_tags, backbone)
    run_record.check_unchanged(tracked, run_record.GRAPH_SHA256, graph, "the network's graph")
    run_record.check_unchanged(tracked, run_record.WEIGHTS_SHA256, sha256, "the pretrained weights")
    run_record.log_entry(tracked, run_record.GRAPH_SHA256, graph)
    run_record.log_entry(tracked, run_record.WEIGHTS_SHA256, sha256)
    if backbone.weights == "none" and config.recipe == "finetune" and config.finetune.batchnorm == "frozen":
        say("note: random weights learn little with finetune.batchnorm=frozen, which keeps untrained statistics")
    say(
        f"network: {built.name} · {built.image_size}x{built.image_size} · weights {config.backbone.weights} · "
        f"{joined.model.count_params():,} parameters with head {config.head.name}"
    )
    return joined, sha256


def _train(
    config: Config,
    choice: EngineChoice,
    store: DiskCache,
    network: Network,
    data: Dataset,
    tracked: TrackedRun,
    clock: Clock,
    checkpoints: CheckpointDir,
    places: tuple[int, ...] | None,
) -> tuple[list[StageResult], tuple[int, ...]]:
    """Return what came of every stage, and where each was cut; places: where they are to be cut, if that is decided."""
    from thaw.training.stage_checkpoint import StageCheckpointer, checkpointed_variables, restore_weights
    from thaw.training.stages import StageInputs, plan_stages, run_stage

    means = StageInputs(choice, store, config.cache.views, config.backbone, config.train, config.head)
    planned = plan_stages(recipes.plan_recipe(config), network, data, means, places)
    cuts = tuple(entry.cut.index for entry in planned)
    run_record.log_entry(tracked, run_record.CUTS, " ".join(map(str, cuts)))
    for line in (line for entry in planned for line in entry.summary_lines(means, data.augmented)):
        say(line)
    found = checkpoints.load_newest()
    results = _go_on(found, planned, tracked) if found else []
    clock.started -= found.state["elapsed"] if found else 0.0  # what was done before counts
    for i, entry in list(enumerate(planned))[len(results) :]:
        stage = _after(entry.stage, results)
        say(f"stage {stage.name} · {stage.optimizer.name} {stage.optimizer.learning_rate:g}")
        weights = checkpointed_variables(network, [before.plan for before in planned[: i + 1]])
        if found:
            restore_weights(weights, found)
        done = run_stage(
            dataclasses.replace(entry, stage=stage),
            network,
            data,
            means,
            checkpointer=StageCheckpointer(
                checkpoints, config.checkpoint, i, weights, [r.to_state() for r in results], found, clock.total
            ),
            predict_splits=("val", "test") if entry is planned[-1] else (),
            on_start=lambda trainable, stage=stage, plan=entry.plan: _log_stage(tracked, stage, plan, trainable),  # type: ignore[misc]
            on_epoch=lambda entry, stage=stage: _log_epoch(tracked, entry, stage.number),  # type: ignore[misc]
        )
        found = None  # later stages begin
        results.append(done)
    for done in results:
        clock.seconds["extract"] += done.extract_seconds
        clock.seconds["train"] += done.fit.seconds
        clock.seconds["evaluate"] += done.judge_seconds
    return results, cuts


def _after(stage: recipes.TrainingStage, results: list[StageResult]) -> recipes.TrainingStage:
    """The stage on the axis of epochs that were done, not planned: early stopping leaves no hole in it."""
    return dataclasses.replace(stage, first_epoch=sum(len(done.fit.history) for done in results))


def _go_on(found: Checkpoint, planned: list[PlannedStage], tracked: TrackedRun) -> list[StageResult]:
    """The stages that were finished when the checkpoint was written; their epochs are logged if they were not yet."""
    from thaw.training.stages import StageResult

    results: list[StageResult] = []
    for entry, done in zip(planned, found.state["done"], strict=False):
        results.append(StageResult.from_state(_after(entry.stage, results), entry.plan, done))
    place, stage = found.progress, planned[found.progress.stage].stage
    say(f"resumed: stage {stage.name}, after {place.epoch} of {stage.epochs} epochs and {place.step} steps")
    for done in results:
        for epoch in done.fit.history:
            _log_figures(tracked, epoch, done.stage.number)
    for epoch in found.state.get("history", ()):
        _log_figures(tracked, epoch, stage.number)
    return results


def _log_stage(tracked: TrackedRun, stage: recipes.TrainingStage, plan: FreezePlan, trainable: int) -> None:
    """What a stage is about to do; a stage that fails has said so."""
    place = f"thaw.stage.{stage.number}"
    tracked.set_tags({"thaw.stage": stage.name, place: stage.name, f"{place}.plan": plan.summary()})
    tracked.log_metrics({"stage/trainable_params": trainable}, step=stage.first_epoch + 1)


def _log_figures(tracked: TrackedRun, entry: Mapping[str, Any], stage: int) -> None:
    figures = {f"epoch/{key}": value for key, value in entry.items() if key not in ("stage", "epoch")}
    tracked.log_metrics({**figures, "epoch/stage": stage}, step=entry["epoch"])


def _log_epoch(tracked: TrackedRun, entry: Mapping[str, Any], stage: int) -> None:
    _log_figures(tracked, entry, stage)
    say(
        f"  {entry['stage']} epoch {entry['epoch']} · loss {entry['loss']:.4f} accuracy {entry['accuracy']:.4f} · "
        f"val loss {entry['val_loss']:.4f} accuracy {entry['val_accuracy']:.4f} · "
        f"lr {entry['learning_rate']:.3g} · {entry['images_per_second']:.0f} images/s"
    )


def _log_metrics(
    results: list[StageResult], evaluations: dict[str, Evaluation], tracked: TrackedRun
) -> dict[str, float]:
    metrics = {f"{split}/{name}": value for split, e in evaluations.items() for name, value in e.metrics.items()}
    last = max((entry["epoch"] for done in results for entry in done.fit.history), default=0)
    tracked.log_metrics({name: value for name, value in metrics.items() if math.isfinite(value)}, step=last)
    return metrics


def _complete(config: Config, job: Job, tracked: TrackedRun, objective: float) -> bool:
    """Whether the run keeps network, pictures and predictions: not those of a sweep that are not its best so far."""
    best = None
    if job.parent_run_id is not None and config.tracking.complete == "best":
        best = tracking.best_objective(tracked, job.parent_run_id)
    complete = config.tracking.complete != "none" and (best is None or objective > best)
    tracked.set_tags({"thaw.complete": complete})
    if best is not None and not complete:
        say(f"figures only: {best:.4f} was reached before in this sweep (tracking.complete=all keeps everything)")
    return complete


def _report(
    data: Dataset, results: list[StageResult], evaluations: dict[str, Evaluation], tracked: TrackedRun, folder: Path
) -> None:
    history = [entry for done in results for entry in done.fit.history]
    test, names = evaluations["test"], data.class_names
    made = folder / "report"
    made.mkdir(exist_ok=True)
    report.curves_png(history, made / "curves.png")
    report.confusion_png(test.confusion, names, made / "confusion.png")
    report.per_class_csv(test, names, made / "per_class.csv", data.class_counts())
    report.predictions_csv(data.image_names("test"), test, names, made / "predictions.csv")
    (made / "history.json").write_text(json.dumps(history, indent=1))
    tracked.log_artifact(made, "report")


def _keep(config: Config, network: Network, tracked: TrackedRun, folder: Path) -> Path:
    """Keep the network; return its file."""
    logged = None
    if config.tracking.log_model:
        logged = tracked.log_model(network.model, metadata={"class_names": list(network.class_names)})
    kept = saved_model.save_network(network, config, folder / "model", logged)
    for file in (saved_model.CLASSES_FILE, saved_model.CONFIG_FILE, saved_model.GRAPH_FILE):
        tracked.log_artifact(kept.folder / file, "network")  # `model` is the name of the logged model
    return kept.weights_file


def _export_features(
    config: Config,
    choice: EngineChoice,
    store: DiskCache,
    network: Network,
    data: Dataset,
    last: StageResult,
    folder: Path,
) -> None:
    """The features of every image, one file a split, or a view of it; those that the head was trained on."""
    from thaw.frozen.activations import build_frozen_part
    from thaw.frozen.feature_export import export_features
    from thaw.models.network import feature_cut

    frozen = build_frozen_part(network, feature_cut(network), config.backbone, choice)
    for split, indices in data.splits.by_name().items():
        for view in data.views(split, min(config.cache.views, last.stage.epochs)):
            name = split if view is None else f"{split}-view{view.number + 1}"
            export_features(frozen, store if last.features_kept else None, data.pixels, indices, view, folder / name)


def _result(
    config_sha256: str,
    choice: EngineChoice,
    tracked: TrackedRun,
    network: Network,
    data: Dataset,
    results: list[StageResult],
    cuts: tuple[int, ...],
    metrics: dict[str, float],
    kept: Path | None,
    clock: Clock,
) -> RunResult:
    from thaw.models.graph_digest import graph_sha256
    from thaw.models.weights_digest import weights_sha256

    seconds = clock.all()
    computed = sum(done.misses for done in results)
    speeds = {"train": sum(len(done.fit.history) for done in results) * len(data.splits.train) / seconds["train"]}
    if computed:
        speeds["extract"] = computed / seconds["extract"]
    speeds["evaluate"] = len(data.splits.test) / seconds["evaluate"]
    return RunResult(
        run_id=tracked.id,
        objective=Objective(OBJECTIVE, metrics[OBJECTIVE]),
        metrics=metrics,
        stages=[_stage_entry(done, cut) for done, cut in zip(results, cuts, strict=True)],
        seconds=seconds,
        images_per_second=speeds,
        weights_sha256=weights_sha256(network.model),
        graph_sha256=graph_sha256(network.model),
        config_sha256=config_sha256,
        data_sha256=manifest.data_sha256(data.pixels, data.splits),
        model=str(kept) if kept else None,
        class_names=network.class_names,
        cache={
            "hits": sum(done.hits for done in results),
            "misses": computed,
            "bytes": sum(done.cache_bytes for done in results),
        },
        engine=dataclasses.asdict(choice),
    )


def _stage_entry(done: StageResult, cut: int) -> dict[str, Any]:
    return {
        "name": done.stage.name,
        "epochs": len(done.fit.history),
        "seconds": done.extract_seconds + done.fit.seconds,
        "learning_rate": done.stage.optimizer.learning_rate,
        "frozen_layers": done.plan.boundary,
        "trainable_params": done.trainable_params,
        "boundary": done.plan.last_frozen_layer,
        "cut": cut,
    }


def _summary(result: RunResult, config: Config, job: Job) -> None:
    m = result.metrics
    say(
        f"test accuracy {m['test/accuracy']:.4f} · macro F1 {m['test/macro_f1']:.4f} · "
        f"val accuracy {m['val/accuracy']:.4f} · {result.seconds['total']:.0f} s"
    )
    say(f"result {display_path(job.folder / 'result.json')}")
    if result.model:
        uri = config.tracking.uri if config.tracking.log_model else "only in the folder"
        predict = command_lines.run_command("predict", "model", result.run_id, job.folder, uri)
        say(f"predict: {predict} images='FOLDER/*.jpg'")

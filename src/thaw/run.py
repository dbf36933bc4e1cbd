"""The spine: one run, from configuration to result, in the order the README tells it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thaw import backend, tracking
from thaw.config.job import Job
from thaw.config.schema import BackboneConfig, Config
from thaw.console import say
from thaw.data import manifest, pixels, sources, splits
from thaw.models import saved, table
from thaw.results import report
from thaw.results.evaluate import Evaluation, evaluate
from thaw.results.result import Objective, Result, write
from thaw.tracking import Run
from thaw.training import recipes
from thaw.training.data import Data

if TYPE_CHECKING:  # TensorFlow is imported when the data has been read
    from thaw.models.freeze import FreezePlan
    from thaw.models.network import Network
    from thaw.training.stages import StageResult

OBJECTIVE = "val/accuracy"


def run(config: Config, job: Job) -> Result:
    """Train as configured and return the result; raises UserError for what the user can mend."""
    if job.parent is None:  # a sweep's job leaves a failed run instead, so that every job has its child
        table.check(config.backbone)
    name = f"{config.recipe}-{config.backbone.name}-{config.dataset.name}"
    tags = {tracking.OVERRIDES: " ".join(job.overrides), "thaw.recipe": config.recipe, "thaw.folder": str(job.folder)}
    clock = Clock()
    with tracking.start(config.tracking, Path(config.outputs), name=name, tags=tags, parent=job.parent) as tracked:
        say(f"run {tracked.id} · {name} · {shown(job.folder)}")
        _log_start(tracked, config, job)
        table.check(config.backbone)
        backbone = _with_weights_of_run(config)

        with clock("scan"):
            data = _read_data(config, tracked, job.folder)

        backend.start(config.seed, config.precision, config.deterministic)
        network = _build(config, backbone, data, tracked)
        stages = recipes.stages(config)
        results = _train(config, job, network, data, stages, tracked, clock)

        with clock("evaluate"):
            evaluations = _evaluate(config, network, data, results[-1])
        _report(network, data, results, evaluations, tracked, job.folder)
        result = _result(config, job, tracked, network, data, results, evaluations, clock)
        write(result, job.folder / "result.json")
        tracked.artifact(job.folder / "result.json")
    _summary(result, job)
    return result


def shown(path: Path) -> Path:
    """A path as it is printed: from the current folder where it lies in it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


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
        return {"total": time.perf_counter() - self.started, **self.seconds}


def _with_weights_of_run(config: Config) -> BackboneConfig:
    """`backbone.weights=RUN_ID`: take the weights file that the run kept."""
    weights = config.backbone.weights
    if weights in ("imagenet", "none") or Path(weights).expanduser().is_file():
        return config.backbone
    source = tracking.find_run(config.tracking.uri, Path(config.outputs), weights)
    return dataclasses.replace(config.backbone, weights=str(source.model()))


def _log_start(tracked: Run, config: Config, job: Job) -> None:
    """Config and fingerprint go to the store before the work, so that a crash leaves evidence."""
    tracked.params(flat(dataclasses.asdict(config)))
    tracked.text(saved.yaml_text(config), "config.yaml")
    tracked.text("\n".join(job.overrides) + "\n", "overrides.txt")
    found = dataclasses.replace(tracking.collect(job.root), seed=config.seed)
    tracked.tags({f"fingerprint.{key}": value for key, value in found.flat().items()})
    if found.diff:
        tracked.text(found.diff, "git-diff.txt")


def flat(section: Any, prefix: str = "") -> dict[str, object]:
    """A nested config as dotted keys."""
    if isinstance(section, dict):
        return {
            k: v for key, value in section.items() for k, v in flat(value, f"{prefix}.{key}" if prefix else key).items()
        }
    if isinstance(section, list) and section:
        return {k: v for i, value in enumerate(section) for k, v in flat(value, f"{prefix}[{i}]").items()}
    return {prefix: section}


def config_sha256(config: Config) -> str:
    """sha256 of the resolved config, without the places that results go to."""
    content = dataclasses.asdict(config)
    for place in ("outputs", "cache", "tracking"):
        del content[place]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _read_data(config: Config, tracked: Run, folder: Path) -> Data:
    own = config.dataset
    catalog = sources.load(own)
    chosen = splits.split(
        catalog.labels,
        catalog.given,
        catalog.class_names,
        val_fraction=own.val_fraction,
        test_fraction=own.test_fraction,
        limit_per_class=own.limit_per_class,
        seed=config.seed,
    )
    images = pixels.read(catalog, chosen.all(), table.image_size(config.backbone))
    data = Data(images, chosen, config.augment, config.seed)
    sha256 = manifest.data_sha256(images, chosen)
    file = folder / "manifest.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(manifest.text(images, chosen), encoding="utf-8", errors="surrogateescape")
    tracked.artifact(file)
    counts = {split: len(indices) for split, indices in chosen.named().items()}
    profile = {"images": len(images.indices), "classes": len(catalog.class_names), **counts}
    tracked.dataset(own.name, sha256, own.path or own.name, profile=profile)
    tracked.tags({"fingerprint.data_sha256": sha256})
    say(
        f"data: {own.name} · {len(catalog.class_names)} classes · train {counts['train']:,} · val {counts['val']:,} · "
        f"test {counts['test']:,} · sha256 {sha256[:12]}"
    )
    return data


def _build(config: Config, backbone: BackboneConfig, data: Data, tracked: Run) -> Network:
    from thaw.models import backbones, network

    built = backbones.build(backbone)
    joined = network.join(built, config.head, data.class_names)
    sha256 = network.weights_sha256(built.model)
    tracked.tags({"fingerprint.weights_sha256": sha256})
    if backbone.weights == "none" and config.recipe == "finetune" and config.finetune.batchnorm == "frozen":
        say("note: random weights learn little with finetune.batchnorm=frozen, which keeps untrained statistics")
    say(
        f"network: {built.name} · {built.image_size}x{built.image_size} · weights {config.backbone.weights} · "
        f"{joined.model.count_params():,} parameters with head {config.head.name}"
    )
    return joined


def _train(
    config: Config, job: Job, network: Network, data: Data, stages: list[recipes.Stage], tracked: Run, clock: Clock
) -> list[StageResult]:
    from thaw.training.stages import plans, run_stage

    planned = plans(stages, network)
    for stage, plan in zip(stages, planned, strict=True):
        say(f"stage {stage.name}: {plan.line()}")
    keep = config.recipe == "bottleneck"  # the features are the recipe's product
    results: list[StageResult] = []
    for planned_stage, plan in zip(stages, planned, strict=True):
        # The epochs that were done, not those that were planned: early stopping leaves no hole in the axis.
        stage = dataclasses.replace(planned_stage, first_epoch=sum(len(done.fit.history) for done in results))
        say(f"stage {stage.name} · {stage.optimizer.name} {stage.optimizer.learning_rate:g}")
        done = run_stage(
            stage,
            plan,
            network,
            data,
            options=config.train,
            head=config.head,
            cache=config.cache,
            folder=job.folder / "features" if keep else Path(config.cache.dir) / f"{tracked.id}-{stage.number:02}",
            keep=keep,
            on_start=lambda trainable, stage=stage, plan=plan: _log_stage(tracked, stage, plan, trainable),  # type: ignore[misc]
            on_epoch=lambda entry, stage=stage: _log_epoch(tracked, entry, stage.number),  # type: ignore[misc]
        )
        clock.seconds["extract"] += done.extract_seconds
        clock.seconds["train"] += done.fit.seconds
        results.append(done)
    return results


def _log_stage(tracked: Run, stage: recipes.Stage, plan: FreezePlan, trainable: int) -> None:
    """What a stage is about to do; a stage that fails has said so."""
    place = f"thaw.stage.{stage.number}"
    tracked.tags({"thaw.stage": stage.name, place: stage.name, f"{place}.plan": plan.line()})
    tracked.metrics({"stage/trainable_params": trainable}, step=stage.first_epoch + 1)


def _log_epoch(tracked: Run, entry: dict[str, Any], stage: int) -> None:
    figures = {f"epoch/{key}": value for key, value in entry.items() if key not in ("stage", "epoch")}
    tracked.metrics({**figures, "epoch/stage": stage}, step=entry["epoch"])
    say(
        f"  {entry['stage']} epoch {entry['epoch']} · loss {entry['loss']:.4f} accuracy {entry['accuracy']:.4f} · "
        f"val loss {entry['val_loss']:.4f} accuracy {entry['val_accuracy']:.4f} · "
        f"lr {entry['learning_rate']:.3g} · {entry['images_per_second']:.0f} images/s"
    )


def _evaluate(config: Config, network: Network, data: Data, last: StageResult) -> dict[str, Evaluation]:
    """Validation with the last stage's predictions; test once, end to end through the network that is kept."""
    from thaw.frozen.forward import probabilities

    test = data.batches("test", config.train.batch_size, network.backbone.image_size)
    guesses = {
        "val": last.val_probabilities,
        "test": probabilities(network.model, test, "test", len(data.splits.test)),
    }
    return {name: evaluate(p, data.labels(name), data.class_names) for name, p in guesses.items()}


def _report(
    network: Network,
    data: Data,
    results: list[StageResult],
    evaluations: dict[str, Evaluation],
    tracked: Run,
    folder: Path,
) -> None:
    history = [entry for done in results for entry in done.fit.history]
    test, names = evaluations["test"], data.class_names
    made = folder / "report"
    made.mkdir(exist_ok=True)
    report.curves_png(history, made / "curves.png")
    report.confusion_png(test.confusion, names, made / "confusion.png")
    report.per_class_csv(test, names, made / "per_class.csv")
    report.predictions_csv(data.names("test"), test, names, made / "predictions.csv")
    (made / "history.json").write_text(json.dumps(history, indent=1))
    tracked.artifact(made, "report")


def _result(
    config: Config,
    job: Job,
    tracked: Run,
    network: Network,
    data: Data,
    results: list[StageResult],
    evaluations: dict[str, Evaluation],
    clock: Clock,
) -> Result:
    from thaw.models.network import weights_sha256

    kept = saved.save(network, config, job.folder / "model")
    for file in (saved.CLASSES, saved.CONFIG):
        tracked.artifact(kept.folder / file, "network")  # `model` is the name of the logged model
    if config.tracking.log_model:
        tracked.model(network.model, metadata={"class_names": list(network.class_names)})
    metrics = {f"{split}/{name}": value for split, e in evaluations.items() for name, value in e.metrics.items()}
    finite = {name: value for name, value in metrics.items() if value == value}
    last = max((entry["epoch"] for done in results for entry in done.fit.history), default=0)
    tracked.metrics(finite, step=last)
    tracked.objective(OBJECTIVE, metrics[OBJECTIVE])
    extracted = sum(done.extracted for done in results)
    seconds = clock.all()
    speeds = {"train": sum(len(done.fit.history) for done in results) * len(data.splits.train) / seconds["train"]}
    if extracted:
        speeds["extract"] = extracted / seconds["extract"]
    speeds["evaluate"] = len(data.splits.test) / seconds["evaluate"]
    return Result(
        run_id=tracked.id,
        objective=Objective(OBJECTIVE, metrics[OBJECTIVE]),
        metrics=metrics,
        stages=[_stage_entry(done) for done in results],
        seconds=seconds,
        images_per_second=speeds,
        weights_sha256=weights_sha256(network.model),
        config_sha256=config_sha256(config),
        data_sha256=manifest.data_sha256(data.pixels, data.splits),
        model=str(kept.weights),
        class_names=network.class_names,
        cache={"hits": 0, "misses": extracted, "bytes": sum(done.cache_bytes for done in results)},
    )


def _stage_entry(done: StageResult) -> dict[str, Any]:
    return {
        "name": done.stage.name,
        "epochs": len(done.fit.history),
        "seconds": done.extract_seconds + done.fit.seconds,
        "learning_rate": done.stage.optimizer.learning_rate,
        "frozen_layers": done.plan.boundary,
        "trainable_params": done.trainable_params,
        "boundary": done.plan.name,
    }


def _summary(result: Result, job: Job) -> None:
    m = result.metrics
    say(
        f"test accuracy {m['test/accuracy']:.4f} · macro F1 {m['test/macro_f1']:.4f} · "
        f"val accuracy {m['val/accuracy']:.4f} · {result.seconds['total']:.0f} s"
    )
    say(f"result {shown(job.folder / 'result.json')}")
    say(f"predict: python scripts/predict.py model={result.run_id} images='FOLDER/*.jpg'")

"""Command `evaluate`: a trained network on any labelled data set, with the metrics and the report of a run."""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from thaw import tracking
from thaw.cache import DiskCache
from thaw.common.console import display_path, printable, say
from thaw.common.errors import UserError
from thaw.common.hardware import detect_processor
from thaw.config import run_names, stored_config
from thaw.config.schema import DatasetConfig, TrackingConfig
from thaw.config.tool_schemas import EvaluateConfig
from thaw.frozen import engine
from thaw.models.saved_model import SavedNetwork
from thaw.results import evaluation_data, evaluation_outputs, evaluation_seen, trained_classifier
from thaw.results.evaluation_data import EvaluatedImages, ListedImages
from thaw.results.evaluation_figures import evaluation_figures
from thaw.results.evaluation_outputs import EvaluatedNetwork, EvaluationOutcome
from thaw.results.evaluation_predictions import predict_evaluated
from thaw.results.evaluation_seen import TrainingRecord
from thaw.results.trained_classifier import InferenceSettings
from thaw.tracking import StoredRun, TrackedRun


@dataclass(frozen=True, eq=False)
class _Asked:
    """What is evaluated on what, known before any image is read. run: in the store at `store_uri`, if it is there."""

    saved: SavedNetwork
    settings: InferenceSettings
    dataset: DatasetConfig
    listed: ListedImages
    record: TrainingRecord
    run: StoredRun | None
    store_uri: str

    @property
    def run_id(self) -> str | None:
        """The id of the network's run."""
        if self.run is not None:
            return self.run.id
        return self.record.run_ids[0] if self.record.run_ids else None

    @property
    def name(self) -> str:
        """The name of the network's run, or of the folder of the network."""
        return self.run.name if self.run is not None else self.run_id or self.saved.folder.absolute().name


def evaluate(config: EvaluateConfig) -> None:
    """Evaluate `config.model` on `config.dataset`; print the figures, write them and the report, and log them.

    Raises:
        UserError: There is no such network, the data set has no labels, images or classes of it, or images that the
            network has seen are to be left out and which they are is not known.
    """
    asked = _find(config)
    folder = _output_folder(config)
    with _evaluation_run(config, asked, folder) as tracked:
        folder.mkdir(parents=True, exist_ok=True)
        say(f"network: {printable(asked.name)} · {len(asked.saved.class_names())} classes")
        outcome = _evaluate(config, asked, folder)
        _report(config, asked, outcome, folder, tracked)


def _find(config: EvaluateConfig) -> _Asked:
    if not config.model:
        raise UserError(
            "model= is missing: the id of a run, a run's folder, or the id of a sweep, for its best run. A published "
            "network is evaluated once a head is trained on it: recipe=bottleneck takes minutes"
        )
    engine.check_engine(config.engine, config.precision, "auto", detect_processor())
    outputs = Path(config.outputs)
    saved, settings = trained_classifier.find_saved_network(config.model, outputs, config.tracking_uri)
    bits, resize = config.dataset.bits or saved.dataset_bits(), saved.dataset_resize()
    if config.dataset.resize not in ("squash", resize):
        raise UserError(
            f"dataset.resize={config.dataset.resize}: the network was trained with dataset.resize={resize}, and is "
            "evaluated with that. Leave dataset.resize out"
        )
    dataset = dataclasses.replace(config.dataset, bits=bits, resize=resize)
    listed = evaluation_data.list_images(dataset, config.split, saved.class_names())
    in_folder = Path(config.model).expanduser() in (saved.folder, saved.folder.parent)
    weights = str(saved.weights_file.absolute()) if in_folder else config.model
    record = evaluation_seen.read_training_record(weights, config.tracking_uri, outputs)
    if config.exclude_seen and record.unknown:
        raise UserError(f"exclude_seen=true: {record.unknown_line()}. Leave exclude_seen out, or give the run's id")
    run, uri = _stored_run(config, saved, in_folder=in_folder)
    return _Asked(saved, settings, dataset, listed, record, run, uri)


def _stored_run(config: EvaluateConfig, saved: SavedNetwork, *, in_folder: bool) -> tuple[StoredRun | None, str]:
    """Return the network's run and the URI of its store; None of a network's folder that belongs to no known run."""
    outputs, uri = Path(config.outputs), config.tracking_uri
    if config.log is False:
        return None, uri
    path = saved.folder.absolute().parent if in_folder else Path(str(config.model)).expanduser()
    try:
        found = tracking.find_run_of_folder(path, uri, outputs) if path.is_dir() else None
        if not path.is_dir():
            found = tracking.find_run(uri, outputs, str(config.model)), uri
    except UserError as error:
        if config.log:
            raise UserError(f"log=true: the store of the network's run cannot be used: {error}") from error
        return None, uri
    if found is None:
        if config.log:
            raise UserError(f"log=true: which run {saved.folder} belongs to is not known. Give the run's id")
        return None, uri
    return tracking.best_run(found[0], lambda line: None), found[1]


def _output_folder(config: EvaluateConfig) -> Path:
    if config.output is None:
        return Path(config.outputs).absolute() / "evaluations" / f"{datetime.now():%Y-%m-%d/%H-%M-%S-%f}"
    folder = Path(config.output).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"output={config.output} is a file; it must be a folder, which is made if it does not exist")
    tracking.check_run_folder(folder, "output")
    return folder


@contextmanager
def _evaluation_run(config: EvaluateConfig, asked: _Asked, folder: Path) -> Iterator[TrackedRun | None]:
    """Open the evaluation's own run beside that of the network; None where nothing is logged."""
    if asked.run is None:
        yield None
        return
    store = TrackingConfig(uri=asked.store_uri, experiment=asked.run.experiment_name())
    name = f"evaluate-{asked.run.name}-{run_names.dataset_name(asked.dataset)}"
    tags = {tracking.KIND_TAG: tracking.EVALUATION, tracking.EVALUATED_RUN_TAG: asked.run.id}
    with tracking.start_run(store, Path(config.outputs), name=name, folder=folder, tags=tags) as tracked:
        params = {"dataset": dataclasses.asdict(asked.dataset), "split": asked.listed.split}
        params |= {key: getattr(config, key) for key in ("exclude_seen", "engine", "precision", "seed")}
        tracked.log_params(dict(stored_config.flatten(params)))
        tracked.flush()
        yield tracked


def _evaluate(config: EvaluateConfig, asked: _Asked, folder: Path) -> EvaluationOutcome:
    started = time.monotonic()
    saved = asked.saved
    cache = DiskCache(
        Path(config.cache.dir).expanduser().absolute(), config.cache.max_gb * 1e9, outputs=Path(config.outputs)
    )
    data = evaluation_data.read_images(asked.listed, asked.dataset, cache, saved.image_size(), config.seed, folder)
    seen = [(name, image) for name, image in zip(data.names, asked.record.find(data.sha256), strict=True) if image]
    if config.exclude_seen:
        data = _without_seen(asked.record, data)
    for line in evaluation_data.class_lines(data, saved.class_names()):
        say(f"  {line}")
    read = time.monotonic()
    classifier = trained_classifier.load_trained(saved, asked.settings)
    function = trained_classifier.uncalibrated_function(classifier, config.engine, config.precision)
    predictions = predict_evaluated(classifier, function, data, config.seed)
    from thaw.models.weights_hash import weights_sha256

    names = classifier.class_names
    figures = evaluation_figures(data, predictions.probabilities, names, asked.record, classifier.temperature)
    network = EvaluatedNetwork(
        asked.name, asked.run_id, saved.folder, classifier.saved_network, weights_sha256(classifier.model)
    )
    ended = time.monotonic()
    seconds = {"total": ended - started, "scan": read - started, "evaluate": ended - read}
    return EvaluationOutcome(network, data, asked.record, seen, config.exclude_seen, predictions, figures, seconds)


def _without_seen(record: TrainingRecord, data: EvaluatedImages) -> EvaluatedImages:
    """Return the images that the network has not seen; raise UserError when it has seen all of them."""
    seen = record.find(data.sha256)
    what = evaluation_seen.describe_seen(evaluation_seen.count_seen(seen))
    unseen = np.array([image is None for image in seen], bool)
    if not unseen.any():
        raise UserError(f"exclude_seen=true leaves no image: of {data.covers}, {what}. Evaluate on other data")
    say(f"seen: {what or 'no image'}; {'they are' if what else 'nothing is'} left out")
    return data.only(unseen, f"{data.covers}, of which it has not seen {int(unseen.sum()):,}")


def _report(
    config: EvaluateConfig, asked: _Asked, outcome: EvaluationOutcome, folder: Path, tracked: TrackedRun | None
) -> None:
    dataset = {"name": asked.dataset.name, "path": asked.dataset.path, "split": asked.listed.split}
    own_run = tracked.id if tracked else None
    report = evaluation_outputs.write_outputs(outcome, dataset, folder, config.report, own_run)
    figures = outcome.figures
    say(figures.all_images.line())
    for line in (figures.warning(), figures.record_gap):
        if line:
            say(f"warning: {line}")
    tables = display_path(folder) / evaluation_outputs.REPORT_FOLDER
    if outcome.seen:
        say(f"seen images {tables / evaluation_seen.SEEN_FILE}")
    say(f"result {display_path(folder / evaluation_outputs.RESULT_FILE)}")
    if report in ("full", "short"):
        say(f"report {tables / 'report.html'}")
    if tracked is not None:
        source = asked.dataset.path or asked.dataset.name
        evaluation_outputs.log_outcome(tracked, outcome, folder, source, report)

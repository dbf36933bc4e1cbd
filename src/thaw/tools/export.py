"""Command `export`: a trained network in another runtime's format, kept only if it answers as the network does."""

import re
import runpy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from thaw.common.console import display_path, format_bytes, printable, say
from thaw.common.errors import UserError
from thaw.common.tensorflow_setup import quiet_stderr
from thaw.config.tool_schemas import ExportConfig
from thaw.export import canary, export_record
from thaw.export.export_agreement import Agreement, Demand, check_agreement, compare_export
from thaw.export.export_folder import check_replaceable, replaced_whole
from thaw.export.export_formats import AGREEMENT, LARGEST_DIFFERENCE, ExportFormat, find_format
from thaw.export.export_record import ExportIdentity
from thaw.export.portable_network import ExportSource, Runtime
from thaw.export.run_images import RunImages, find_network_run, read_run_images
from thaw.frozen.batch_runner import expand_sigmoid
from thaw.frozen.openvino_runtime import sharing_the_core
from thaw.models.saved_model import SavedNetwork
from thaw.results import trained_classifier
from thaw.results.trained_classifier import Classifier, InferenceSettings
from thaw.tracking import StoredRun


@dataclass(frozen=True, eq=False)
class _Export:
    """What is exported in which format, ready to be written."""

    row: ExportFormat
    precision: str
    agreement: float
    saved: SavedNetwork
    classifier: Classifier
    identity: ExportIdentity
    images: RunImages

    @property
    def name(self) -> str:
        """The format and the precision, as a message names the export."""
        return f"format={self.row.name} precision={self.precision}"


def export(config: ExportConfig) -> None:
    """Write `config.model` in `config.format`, load it again in its own runtime, and keep it if both agree.

    Raises:
        UserError: There is no such network, format or package; the run's images are gone; the folder is somebody
            else's; or the export does not answer as the network does.
    """
    row = find_format(config.format, config.precision)
    if not config.model:
        raise UserError("model= is missing: the id of a run, a run's folder, or the id of a sweep, for its best run")
    outputs = Path(config.outputs)
    saved, settings = trained_classifier.find_saved_network(config.model, outputs, config.tracking_uri)
    run = find_network_run(config.model, saved, config.tracking_uri, outputs)
    folder = _output_folder(config, run, saved.folder)
    check_replaceable(folder, run.id if run else None, overwrite=config.overwrite)
    say(f"network: {printable(run.name if run else str(saved.folder))} · {len(saved.class_names())} classes")
    calibrate = config.precision == "int8"
    images = read_run_images(saved, run, config.data, images=config.images, seed=config.seed, calibrate=calibrate)
    _note_quantized(settings)
    classifier = trained_classifier.load_trained(saved, settings)
    agreement = AGREEMENT[config.precision] if config.agreement is None else config.agreement
    asked = _Export(row, config.precision, agreement, saved, classifier, _identity(run, classifier), images)
    with replaced_whole(folder) as temporary:
        found = _write(asked, temporary)
    say(found.line())
    if found.is_blind:
        say(
            "note: the network gives all test images nearly the same probabilities, so the comparison can find no fault"
        )
    say(f"size {format_bytes(export_record.model_bytes(folder))} · canary: {canary.SCRIPT} says OK")
    say(f"export {display_path(folder)}")


def _output_folder(config: ExportConfig, run: StoredRun | None, network: Path) -> Path:
    if config.output is not None:
        return Path(config.output).expanduser().absolute()
    name = re.sub(r"[^\w.=+-]+", "_", run.name).strip("._")[:80] if run else network.absolute().parent.name
    label = f"{name}-{run.id[:8]}" if run else name
    return Path(config.outputs).absolute() / "exports" / label / f"{config.format}-{config.precision}"


def _note_quantized(settings: InferenceSettings) -> None:
    if settings.is_quantized:
        say(
            "note: the run's figures are those of its quantised frozen part, which only OpenVINO runs. Exported, and "
            "compared, is the kept network in float32 (model.keras)"
        )


def _identity(run: StoredRun | None, classifier: Classifier) -> ExportIdentity:
    from thaw.models.graph_digest import graph_sha256
    from thaw.models.weights_hash import weights_sha256

    model = classifier.model
    return ExportIdentity(
        run.id if run else None,
        run.name if run else None,
        weights_sha256(model),
        graph_sha256(model),
        classifier.class_names,
        classifier.temperature,
        classifier.image_size,
        classifier.decode_options().resize_rule,
    )


def _write(asked: _Export, folder: Path) -> Agreement:
    """Write the export into a folder and everything that belongs to it; raise UserError unless it agrees."""
    row, images = asked.row, asked.images
    texts = export_record.metadata_texts(asked.identity)
    file = asked.saved.weights_file
    source = ExportSource(asked.classifier.model, file, asked.classifier.image_size, texts, images.calibration)
    say(f"writing {row.name} in {asked.precision}")
    run = _convert(asked, source, folder)
    found = compare_export(run, _kept_network(asked.classifier), images.pixels, images.test, images.labels)
    demand = Demand(asked.name, asked.agreement, LARGEST_DIFFERENCE[asked.precision])
    check_agreement(found, demand, images.paths(), asked.classifier.class_names)
    size = export_record.model_bytes(folder)
    canary.write_canary(row, asked.precision, images, run, folder)
    _check_canary(row, folder)
    sample = images.pixels.take(images.test[: max(export_record.LATENCY_BATCHES)])
    figures = {
        **found.figures(),
        "agreement_asked": asked.agreement,
        "test_images_of_the_run": images.test_total,
        "calibration_images": 0 if images.calibration is None else len(images.calibration.indices),
        "bytes": size,
        "network_bytes": file.stat().st_size,
        "latency_ms": export_record.measure_latency(run, sample),
    }
    export_record.write_record(folder, row, asked.precision, asked.identity, figures)
    return found


def _convert(asked: _Export, source: ExportSource, folder: Path) -> Runtime:
    """Write the model's files and return them loaded again; raise UserError with the reason a converter gives."""
    with _quiet(asked.row):
        try:
            asked.row.write(source, folder, asked.precision)
            return asked.row.load(folder)
        except UserError:
            raise
        except Exception as error:  # whatever a converter cannot do, or its runtime not read
            reason = str(error).strip().splitlines() or [""]
            raise UserError(
                f"{asked.name} cannot be written, and nothing was kept: its converter or runtime ends with "
                f"{type(error).__name__}: {reason[0]}. Export in another precision or format"
            ) from error


def _kept_network(classifier: Classifier) -> Runtime:
    """Return the reference: the kept network as Keras runs it in float32."""
    from thaw.frozen.engine import InferenceFunction

    reference = InferenceFunction(classifier.model, "keras", "float32")
    return lambda images: expand_sigmoid(reference(images)[0])


def _check_canary(row: ExportFormat, folder: Path) -> None:
    """Run check.py as its reader will; raise UserError with what it says unless that is OK."""
    said, code = StringIO(), 0
    with redirect_stdout(said), _quiet(row):
        try:
            runpy.run_path(str(folder / canary.SCRIPT), run_name="__main__")
        except SystemExit as ended:
            code = int(ended.code or 0)
    if code:
        raise UserError(f"the export's own {canary.SCRIPT} finds a difference, and nothing was kept: {said.getvalue()}")


@contextmanager
def _quiet(row: ExportFormat) -> Iterator[None]:
    """Hold back what converters print and warn of, which is about their own insides, unless they fail.

    OpenVINO may have one core in a process, and this one has its own.
    """
    one_core = sharing_the_core() if row.runtime == "openvino" else nullcontext()
    with warnings.catch_warnings(), quiet_stderr(), one_core:
        warnings.simplefilter("ignore")
        yield

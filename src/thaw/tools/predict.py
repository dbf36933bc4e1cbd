"""Predicts the classes of images, with a published ImageNet network or one that thaw trained."""

import glob
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from thaw import run_fingerprint, tracking
from thaw.common import tensorflow_setup
from thaw.common.console import print_table, printable, progress, say
from thaw.common.csv_text import spreadsheet_text
from thaw.common.errors import UserError
from thaw.common.hardware import Hardware, detect_hardware, detect_processor
from thaw.common.parallel import prefetch_map
from thaw.config.tool_schemas import PredictConfig
from thaw.data import bit_depth
from thaw.data.decode import DecodeOptions, decode
from thaw.data.file_bytes import BadImageError
from thaw.data.image_folder import is_image_name, walk_visible_folders
from thaw.frozen import engine
from thaw.frozen.batch_runner import expand_sigmoid
from thaw.frozen.engine import EngineChoice, InferenceFunction
from thaw.models import backbone_table, saved_model
from thaw.models.saved_model import SavedNetwork

Prediction = tuple[str, float]  # class name, probability
FLOAT32_NOTE = (
    "note: these predictions are those of the network in float32, and its head was fitted on int8. The run's id or "
    "whole folder predicts as the run was evaluated, with engine and precision left out"
)
DECODE_GROUP = 64  # images that are decoded, in threads, while the network runs on as many


@dataclass(frozen=True)
class InferenceSettings:
    """What a run evaluated its network with.

    engine: auto if that is not known. frozen_precision, trained_precision: of its two parts. boundary: how many layers
    ran on the engine in the last stage; None for published networks and runs of earlier versions, which run as one, in
    the precision of the frozen part. quantized_sha256: of a quantised frozen part, which is kept beside the network.
    """

    engine: str = "auto"
    frozen_precision: str = "float32"
    trained_precision: str = "float32"
    boundary: int | None = None
    quantized_sha256: str = ""

    @property
    def network_precision(self) -> str:
        """In which precision the saved network's frozen part is run; a quantised part is not in it."""
        return "float32" if self.frozen_precision == "int8" else self.frozen_precision

    @property
    def is_quantized(self) -> bool:
        """Whether the frozen part was in int8; without frozen layers there is none."""
        return self.frozen_precision == "int8" and bool(self.boundary)


@dataclass(frozen=True)
class Classifier:
    """A network, the names of its outputs, and the side of its square input in pixels.

    bits: `dataset.bits` of its run. saved_network: the same network with its parts, if thaw trained it. folder: that of
    a network that thaw trained.
    """

    model: Any
    class_names: list[str]
    image_size: int
    judged_with: InferenceSettings
    bits: int | None = None
    saved_network: Any = None
    folder: Path | None = None


def predict(config: PredictConfig) -> None:
    """Print the most probable classes of every image.

    Raises:
        UserError: at the end, when some files could not be read.
    """
    if config.output and not Path(config.output).expanduser().absolute().parent.is_dir():
        raise UserError(f"output={config.output}: its folder does not exist; make it first")
    engine.check_engine(config.engine, config.precision, "auto", detect_processor())
    files = find_images(config.images)
    predictions, unreadable = _predict_files(load_classifier(config), files, config)
    if config.format == "table" and not config.output:
        print_table(_table(predictions))
    else:
        listing = encode_listing(_text(predictions, config), config.format)
        if config.output:
            Path(config.output).expanduser().write_bytes(listing)
            say(f"wrote {config.output}")
        else:
            sys.stdout.flush()
            sys.stdout.buffer.write(listing)
    if unreadable:
        lines = "\n".join(f"  {image}" for image in unreadable)
        raise UserError(f"{len(unreadable)} of {len(files)} files could not be read:\n{lines}")


def encode_listing(listing: str, form: str) -> bytes:
    """Return a listing in UTF-8. A file's name that is not UTF-8 keeps its bytes, in JSON as escapes.

    Python's json reads these back as the name that opens the file.
    """
    return listing.encode("utf-8", "backslashreplace" if form == "json" else "surrogateescape")


def find_images(images: Any) -> list[str]:
    """Return the files that `images=` names, each once: a file, a folder, a pattern in quotes, or a list of these.

    Of a folder, these are the images at any depth that training would read. Raises UserError when there are none.
    """
    if images is None:
        raise UserError(
            "images= is missing: images=lion.jpg, images=FOLDER, or a pattern in quotes, images='photos/*.jpg'"
        )
    files: list[str] = []
    for entry in images if isinstance(images, list) else [images]:
        path = Path(str(entry)).expanduser()
        if path.is_dir():
            folders = walk_visible_folders(path, Counter())
            images_inside = (Path(folder) / name for folder, names in folders for name in names if is_image_name(name))
            matches = sorted(map(str, images_inside))
        elif path.exists():
            matches = [str(path)]
        else:
            matches = sorted(name for name in glob.glob(str(path), recursive=True) if Path(name).is_file())  # noqa: PTH207
        if not matches:
            raise UserError(f"images={entry} matches no file. Give a file, a folder, or a pattern in quotes")
        files += matches
    return list(dict.fromkeys(files))


def load_classifier(config: PredictConfig) -> Classifier:
    """Return the network of `model=`, or else the published ImageNet network of `backbone=`."""
    if config.model:
        saved, settings = find_saved_network(config.model, config)
        tensorflow_setup.start_tensorflow(0, None)
        network = saved_model.load_network(saved)
        names, size, bits = saved.class_names(), saved.image_size(), saved.dataset_bits()
        return Classifier(network.model, names, size, settings, bits, network, saved.folder)
    backbone_table.check_backbone(config.backbone)
    if config.backbone.weights == "none":
        raise UserError("backbone.weights=none would guess at random: use imagenet, a weights file, or model=RUN_ID")
    tensorflow_setup.start_tensorflow(0, None)
    from thaw.models import backbones, imagenet_classes

    model, size = backbones.build_imagenet_classifier(config.backbone), backbone_table.input_size(config.backbone)
    return Classifier(model, imagenet_classes.imagenet_class_names(), size, InferenceSettings())


def find_saved_network(model: str, config: PredictConfig) -> tuple[SavedNetwork, InferenceSettings]:
    """Return the network of `model=`, which is a network's folder, a run's folder or a run id, and its settings."""
    folder = Path(model).expanduser()
    names = (saved_model.WEIGHTS_FILE, saved_model.CLASSES_FILE, saved_model.CONFIG_FILE)
    for network_folder in (folder, folder / "model"):
        if all((network_folder / name).is_file() for name in names):
            run_folder = network_folder.absolute().parent
            tracking.check_single_run(run_folder)
            settings = settings_of_result(run_folder / "result.json")
            return SavedNetwork(network_folder / saved_model.WEIGHTS_FILE, network_folder), settings
    outputs = Path(config.outputs)
    known = tracking.find_run_of_folder(folder, config.tracking_uri, outputs) if folder.is_dir() else None
    asked = known[0] if known else tracking.find_run(config.tracking_uri, outputs, model)
    run = tracking.best_run(asked, lambda line: print(f"note: {line}", file=sys.stderr))
    if run.status != "FINISHED":
        print(f"note: run {run.id} is {run.status}: {run.tags.get('thaw.reason', 'it did not end')}", file=sys.stderr)
    return SavedNetwork(run.model_file(), run.artifact_path("network")), settings_of_tags(run.tags)


def settings_of_tags(tags: Mapping[str, str]) -> InferenceSettings:
    """Return what a run evaluated its network with, as the run's tags say."""
    if tags.get("thaw.parity") == "failed":
        return InferenceSettings("keras")
    frozen, cuts = tags.get("thaw.frozen_precision", "float32"), run_fingerprint.stored_cuts(tags)
    trained = tags.get("thaw.evaluated_precision", tags.get("thaw.precision", "float32"))
    quantized = tags.get(saved_model.QUANTIZED_TAG, "")
    name, boundary = tags.get("thaw.engine", "auto").split()[0], cuts[-1] if cuts else None
    return InferenceSettings(name, frozen, trained, boundary, quantized)


def settings_of_result(result: Path) -> InferenceSettings:
    """Return what a run evaluated its network with, as its result.json says."""
    content = json.loads(result.read_text(encoding="utf-8")) if result.is_file() else {}
    choice = content.get("parity", {}).get("judged_with") or content.get("engine")
    if not choice:
        return InferenceSettings()
    cut = content["stages"][-1].get("cut") if content.get("stages") and choice["engine"] != "keras" else None
    quantized = content.get("quantization", {}).get("sha256", "")
    trained = choice.get("trained_depthwise") or choice.get("trained", "float32")
    return InferenceSettings(choice["engine"], choice["frozen"], trained, cut, quantized)


def _predict_files(
    classifier: Classifier, files: list[str], config: PredictConfig
) -> tuple[dict[str, list[Prediction]], list[BadImageError]]:
    """The most probable classes by file, and the errors of files that cannot be read."""
    probabilities = probability_function(classifier, config)
    bits, size = config.bits or classifier.bits, classifier.image_size
    predictions: dict[str, list[Prediction]] = {}
    unreadable: list[BadImageError] = []
    max_values: list[int | None] = []

    def read(file: str) -> tuple[str, npt.NDArray[np.uint8] | BadImageError]:
        try:
            picture = decode(file, size=(size, size), options=DecodeOptions(bits))
            max_values.append(picture.max_value)
            return file, picture.resized(size)
        except BadImageError as error:
            return file, error

    images = prefetch_map(read, files, prefetch=DECODE_GROUP, chunk=1)
    with progress("predicting", len(files)) as bar:
        while group := list(islice(images, DECODE_GROUP)):
            readable = [(file, image) for file, image in group if not isinstance(image, BadImageError)]
            unreadable += [image for _, image in group if isinstance(image, BadImageError)]
            for start in range(0, len(readable), config.batch_size):
                batch = readable[start : start + config.batch_size]
                out = probabilities(np.stack([image for _, image in batch]))
                for (file, _), row in zip(batch, out, strict=True):
                    best = np.argsort(-row, kind="stable")[: config.top]
                    predictions[file] = [(classifier.class_names[i], float(row[i])) for i in best]
            bar.advance(len(group))
    if bits is None and (warning := bit_depth.few_bits_warning(max_values)):
        print(warning.replace("dataset.bits", "bits"), file=sys.stderr)
    return predictions, unreadable


def probability_function(classifier: Classifier, config: PredictConfig) -> Callable[[Any], npt.NDArray[np.float32]]:
    """Return a function of images, uint8 (B, S, S, 3), to probabilities, float32 (B, C).

    It runs on the engine of the network's run unless another is asked for.
    """
    settings = classifier.judged_with
    if settings.is_quantized and config.engine in ("auto", "openvino") and config.precision == "auto":
        return _quantized_classifier(classifier)
    if config.precision == "auto" and _has_quantized_part(classifier):
        print(FLOAT32_NOTE, file=sys.stderr)
    choice = choose_prediction_engine(config.engine, config.precision, settings, detect_hardware())
    judged = (settings.engine, settings.network_precision)
    as_evaluated = (choice.engine, choice.frozen) == judged and not settings.is_quantized
    if classifier.saved_network is not None and settings.boundary is not None and as_evaluated:
        from thaw.frozen.inference import TwoPartClassifier

        choice = replace(choice, trained=settings.trained_precision)
        return TwoPartClassifier(classifier.saved_network, settings.boundary, choice)
    function = InferenceFunction(classifier.model, choice.engine, choice.frozen)
    return lambda images: expand_sigmoid(function(images)[0])


def _has_quantized_part(classifier: Classifier) -> bool:
    """Whether the head was fitted on int8: its run says so, or the quantised part lies beside the network."""
    folder = classifier.folder
    return classifier.judged_with.is_quantized or (
        folder is not None and (folder / saved_model.QUANTIZED_FILE).is_file()
    )


def _quantized_classifier(classifier: Classifier) -> Callable[[Any], npt.NDArray[np.float32]]:
    """Return the function of a network whose frozen part was quantised, as its run computed it. It needs no NNCF."""
    from thaw.frozen import quantization
    from thaw.frozen.inference import TwoPartClassifier

    settings = classifier.judged_with
    assert classifier.folder is not None
    assert settings.boundary is not None
    if not detect_processor().openvino:
        raise UserError(
            "the run was judged in int8, which OpenVINO computes, and the package openvino is not installed. Install "
            "it, or predict with precision=float32, which runs the kept network"
        )
    file = saved_model.check_quantized(classifier.folder, settings.quantized_sha256)
    choice = EngineChoice("openvino", "", "int8", settings.trained_precision)
    loaded = quantization.load_quantized(file)
    return TwoPartClassifier(classifier.saved_network, settings.boundary, choice, loaded)


def choose_prediction_engine(
    engine_asked: str, precision: str, settings: InferenceSettings, hardware: Hardware
) -> EngineChoice:
    """Return the engine and precision that the network was evaluated with, unless others are asked for.

    That holds for few images too: OpenVINO converts a network and runs an image in no more time than TensorFlow traces
    and folds it (EfficientNet-Lite0 1.5 and 2.9 s, InceptionV3 5 and 10 s), and another engine rounds otherwise, by
    4e-6 of a probability in float32. A network whose engine this machine cannot run runs on TensorFlow, which is
    printed on standard error.
    """
    precision = settings.network_precision if precision == "auto" else precision
    wanted = engine_asked if engine_asked != "auto" else settings.engine

    def choose(name: str) -> EngineChoice:
        return engine.choose_engine(name, precision, "auto", depthwise=False, trains_backbone=False, hardware=hardware)

    try:
        return choose(wanted)
    except UserError:
        if engine_asked != "auto":
            raise
    choice = choose("auto")
    print(
        f"note: this machine cannot run {wanted} in {precision}, as the network was judged; it runs {choice.engine} in "
        f"{choice.frozen}",
        file=sys.stderr,
    )
    return choice


def _table(predictions: dict[str, list[Prediction]]) -> Table:
    listing = Table()
    for column, justify in (("image", "left"), ("class", "left"), ("probability", "right")):
        listing.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for file, best in predictions.items():
        for i, (name, probability) in enumerate(best):
            listing.add_row(
                printable(file) if i == 0 else "", printable(name), f"{probability:.7f}", end_section=i == len(best) - 1
            )
    return listing


def _text(predictions: dict[str, list[Prediction]], config: PredictConfig) -> str:
    if config.format == "json":
        entries = [
            {"image": file, "predictions": [{"class": name, "probability": p} for name, p in best]}
            for file, best in predictions.items()
        ]
        return json.dumps(entries, indent=1, ensure_ascii=False) + "\n"
    rows = ((file, i + 1, name, p) for file, best in predictions.items() for i, (name, p) in enumerate(best))
    return spreadsheet_text(("image", "rank", "class", "probability"), rows)

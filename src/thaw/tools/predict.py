"""Names and probabilities for pictures, from a stock ImageNet network or from a network that thaw trained."""

import glob
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from thaw import run_record, tracking
from thaw.common import backend
from thaw.common.console import print_table, printable, progress, say
from thaw.common.csv_text import spreadsheet_text
from thaw.common.errors import UserError
from thaw.common.hardware import Hardware, detect_hardware, detect_processor
from thaw.config.tool_schemas import PredictConfig
from thaw.data import bit_depth
from thaw.data.decode import BadImageError, DecodeOptions, decode
from thaw.data.image_folder import is_image_name, walk_visible_folders
from thaw.frozen import engine
from thaw.frozen.batch_runner import expand_sigmoid
from thaw.frozen.engine import EngineChoice, InferenceFunction
from thaw.models import backbone_table, saved_model
from thaw.models.saved_model import SavedNetwork

Prediction = tuple[str, float]
DECODE_GROUP = 64  # images decoded in one go, in threads, before the network sees them


@dataclass(frozen=True)
class InferenceSettings:
    """What a network was judged with: engine (auto: not known), precisions of what was frozen and of what trained.

    cut: where it was parted, as `Cut.at` of the last stage; None of stock networks and of runs of earlier versions:
    these run as one, in the precision of what was frozen.
    """

    engine: str = "auto"
    frozen_precision: str = "float32"
    trained_precision: str = "float32"
    boundary: int | None = None


@dataclass(frozen=True)
class Classifier:
    """A network, the names of its outputs, and the side of its square input in pixels.

    trained: the same with its parts, of a network that thaw trained.
    """

    model: Any
    class_names: list[str]
    image_size: int
    judged_with: InferenceSettings
    bits: int | None = None  # dataset.bits of its run
    saved_network: Any = None


def predict(config: PredictConfig) -> None:
    """Print the most probable classes of every image; exit with 1 when some files could not be read, after the rest."""
    _check_output(config)
    engine.check_engine(config.engine, config.precision, "auto", detect_processor())
    files = find_images(config.images)
    bad: list[BadImageError] = []
    guesses = _guesses(_classifier(config), files, config, bad)
    if config.output:
        Path(config.output).expanduser().write_bytes(encode_listing(_text(guesses, config), config.format))
        say(f"wrote {config.output}")
    elif config.format == "table":
        print_table(_table(guesses))
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(encode_listing(_text(guesses, config), config.format))
    if bad:
        listing = "\n".join(f"  {image}" for image in bad)
        raise UserError(f"{len(bad)} of {len(files)} files could not be read:\n{listing}")


def encode_listing(listing: str, form: str) -> bytes:
    """Return a listing in UTF-8. A file's name that is none comes out as on the disk, in JSON with JSON's escapes.

    Python's json reads these back as the name that opens the file.
    """
    return listing.encode("utf-8", "backslashreplace" if form == "json" else "surrogateescape")


def _check_output(config: PredictConfig) -> None:
    if config.output and not Path(config.output).expanduser().absolute().parent.is_dir():
        raise UserError(f"output={config.output}: its folder does not exist; make it first")


def find_images(images: Any) -> list[str]:
    """Turn `images=` into a sorted list of files: a file, a folder (its pictures at any depth), a pattern, or a list.

    In a folder the same is passed over as in training. Raises UserError when there is none.
    """
    if images is None:
        raise UserError(
            "images= is missing: images=lion.jpg, images=FOLDER, or a pattern in quotes, images='photos/*.jpg'"
        )
    found: list[str] = []
    for entry in images if isinstance(images, list) else [images]:
        path, before = Path(str(entry)).expanduser(), len(found)
        if path.is_dir():
            inside = (
                Path(here) / file
                for here, files in walk_visible_folders(path, Counter())
                for file in files
                if is_image_name(file)
            )
            found += sorted(map(str, inside))
        elif path.exists():
            found.append(str(path))
        else:
            found += sorted(name for name in glob.glob(str(path), recursive=True) if Path(name).is_file())  # noqa: PTH207
        if len(found) == before:
            raise UserError(f"images={entry} matches no file. Give a file, a folder, or a pattern in quotes")
    return list(dict.fromkeys(found))


def _classifier(config: PredictConfig) -> Classifier:
    if config.model:
        place, judged = _saved(config.model, config)
        backend.start_tensorflow(0, None)
        network = saved_model.load_network(place)
        return Classifier(network.model, place.class_names(), place.image_size(), judged, place.dataset_bits(), network)
    backbone_table.check_backbone(config.backbone)
    if config.backbone.weights == "none":
        raise UserError("backbone.weights=none would guess at random: use imagenet, a weights file, or model=RUN_ID")
    backend.start_tensorflow(0, None)
    from thaw.models import backbones, imagenet_classes

    size = backbone_table.image_size(config.backbone)
    return Classifier(
        backbones.build_imagenet_classifier(config.backbone), imagenet_classes.class_names(), size, InferenceSettings()
    )


def _saved(model: str, config: PredictConfig) -> tuple[SavedNetwork, InferenceSettings]:
    folder = Path(model).expanduser()
    for place in (folder, folder / "model"):
        if all(
            (place / file).is_file()
            for file in (saved_model.WEIGHTS_FILE, saved_model.CLASSES_FILE, saved_model.CONFIG_FILE)
        ):
            own = place.absolute().parent
            tracking.check_single_run(own)
            return SavedNetwork(place / saved_model.WEIGHTS_FILE, place), settings_of_result(own / "result.json")
    known = tracking.find_run_of_folder(folder, config.tracking_uri, Path(config.outputs)) if folder.is_dir() else None
    found = known[0] if known else tracking.find_run(config.tracking_uri, Path(config.outputs), model)
    run = tracking.best_run(found, lambda line: print(f"note: {line}", file=sys.stderr))
    if run.status != "FINISHED":
        print(f"note: run {run.id} is {run.status}: {run.tags.get('thaw.reason', 'it did not end')}", file=sys.stderr)
    return SavedNetwork(run.model_file(), run.artifact_path("network")), settings_of_tags(run.tags)


def settings_of_tags(tags: Mapping[str, str]) -> InferenceSettings:
    """What a run's tags say that it was judged with."""
    if tags.get("thaw.parity") == "failed":
        return InferenceSettings("keras")
    frozen, cuts = tags.get("thaw.frozen_precision", "float32"), run_record.stored_cuts(tags)
    trained = tags.get("thaw.precision", "float32")
    return InferenceSettings(tags.get("thaw.engine", "auto").split()[0], frozen, trained, cuts[-1] if cuts else None)


def settings_of_result(result: Path) -> InferenceSettings:
    """What a run's result.json says that it was judged with."""
    content = json.loads(result.read_text(encoding="utf-8")) if result.is_file() else {}
    own = content.get("parity", {}).get("judged_with") or content.get("engine")
    if not own:
        return InferenceSettings()
    cut = content["stages"][-1].get("cut") if content.get("stages") and own["engine"] != "keras" else None
    return InferenceSettings(own["engine"], own["frozen"], own.get("trained", "float32"), cut)


def _guesses(
    network: Classifier, files: list[str], config: PredictConfig, bad: list[BadImageError]
) -> dict[str, list[Prediction]]:
    """The top classes by file; files that cannot be read are put into `bad`."""
    probabilities = _function(network, config)
    found: dict[str, list[Prediction]] = {}
    bits, highest = config.bits or network.bits, list[int | None]()
    with progress("predicting", len(files)) as steps:
        for group in _decoded(files, network.image_size, DecodeOptions(bits), highest):
            good = [(file, image) for file, image in group if not isinstance(image, BadImageError)]
            bad += [image for _, image in group if isinstance(image, BadImageError)]
            for start in range(0, len(good), config.batch_size):
                batch = good[start : start + config.batch_size]
                out = probabilities(np.stack([image for _, image in batch]))
                for (file, _), row in zip(batch, out, strict=True):
                    best = np.argsort(-row, kind="stable")[: config.top]
                    found[file] = [(network.class_names[i], float(row[i])) for i in best]
            steps.advance(len(group))
    if bits is None and (said := bit_depth.few_bits_warning(highest)):
        print(said.replace("dataset.bits", "bits"), file=sys.stderr)
    return found


def _function(network: Classifier, config: PredictConfig) -> Callable[[Any], npt.NDArray[np.float32]]:
    """Images uint8 (B, S, S, 3) -> probabilities float32 (B, C): as the run was judged, unless otherwise asked for."""
    choice = choose_prediction_engine(config.engine, config.precision, network.judged_with, detect_hardware())
    judged = network.judged_with
    as_judged = (choice.engine, choice.frozen) == (judged.engine, judged.frozen_precision)
    if network.saved_network is not None and judged.boundary is not None and as_judged:
        from thaw.frozen.inference import TwoPartClassifier

        return TwoPartClassifier(
            network.saved_network, judged.boundary, replace(choice, trained=judged.trained_precision)
        )
    function = InferenceFunction(network.model, choice.engine, choice.frozen)
    return lambda images: expand_sigmoid(function(images)[0])


def choose_prediction_engine(
    engine_asked: str, precision: str, judged: InferenceSettings, hardware: Hardware
) -> EngineChoice:
    """Engine and precision: those that the network was judged with, unless others are asked for.

    Few images too: OpenVINO converts a network and runs an image in no more time than TensorFlow traces and folds it
    (EfficientNet-Lite0 1.5 and 2.9 s, InceptionV3 5 and 10 s), and another engine rounds otherwise, by 4e-6 of a
    probability in float32. What this machine cannot run as it was judged runs on TensorFlow, which is said on standard
    error.
    """
    precision = judged.frozen_precision if precision == "auto" else precision
    wanted = engine_asked if engine_asked != "auto" else judged.engine

    def chosen(engine_: str) -> EngineChoice:
        return engine.choose_engine(
            engine_, precision, "auto", depthwise=False, trains_backbone=False, hardware=hardware
        )

    try:
        return chosen(wanted)
    except UserError:
        if engine_asked != "auto":
            raise
    choice = chosen("auto")
    print(
        f"note: this machine cannot run {wanted} in {precision}, as the network was judged; it runs {choice.engine} in "
        f"{choice.frozen}",
        file=sys.stderr,
    )
    return choice


def _decoded(
    files: list[str], size: int, rules: DecodeOptions, highest: list[int | None]
) -> Iterator[list[tuple[str, npt.NDArray[np.uint8] | BadImageError]]]:
    """Groups of decoded images; the next group is decoded while this one is looked at.

    What `DecodedImage.max_value` says of each is put into `highest`.
    """

    def read(file: str) -> tuple[str, npt.NDArray[np.uint8] | BadImageError]:
        try:
            picture = decode(file, size=(size, size), options=rules)
            highest.append(picture.max_value)
            return file, picture.resized(size)
        except BadImageError as bad:
            return file, bad

    groups = [files[i : i + DECODE_GROUP] for i in range(0, len(files), DECODE_GROUP)]
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(read, file) for file in groups[0]]
        for following in [*groups[1:], []]:
            current, waiting = waiting, [threads.submit(read, file) for file in following]
            yield [future.result() for future in current]


def _table(guesses: dict[str, list[Prediction]]) -> Table:
    listing = Table()
    for column, justify in (("image", "left"), ("class", "left"), ("probability", "right")):
        listing.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for file, best in guesses.items():
        for i, (name, probability) in enumerate(best):
            listing.add_row(
                printable(file) if i == 0 else "", printable(name), f"{probability:.7f}", end_section=i == len(best) - 1
            )
    return listing


def _text(guesses: dict[str, list[Prediction]], config: PredictConfig) -> str:
    if config.format == "json":
        entries = [
            {"image": file, "predictions": [{"class": name, "probability": p} for name, p in best]}
            for file, best in guesses.items()
        ]
        return json.dumps(entries, indent=1, ensure_ascii=False) + "\n"
    rows = ((file, i + 1, name, p) for file, best in guesses.items() for i, (name, p) in enumerate(best))
    return spreadsheet_text(("image", "rank", "class", "probability"), rows)

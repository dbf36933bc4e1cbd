"""Predicts the classes of images, with a published ImageNet network or one that thaw trained."""

import glob
import json
import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from thaw.common.console import print_table, printable, progress, say
from thaw.common.csv_text import spreadsheet_text
from thaw.common.errors import UserError
from thaw.common.hardware import detect_processor
from thaw.common.parallel import prefetch_map
from thaw.config.tool_schemas import PredictConfig
from thaw.data import bit_depth
from thaw.data.decode import DecodeOptions, decode
from thaw.data.file_bytes import BadImageError
from thaw.data.image_folder import is_image_name, walk_visible_folders
from thaw.frozen import engine
from thaw.results.trained_classifier import Classifier, load_classifier, probability_function

Prediction = tuple[str, float]  # class name, probability
DECODE_GROUP = 64  # images that are decoded, in threads, while the network runs on as many


def predict(config: PredictConfig) -> None:
    """Print the most probable classes of every image.

    Raises:
        UserError: at the end, when some files could not be read.
    """
    if config.output and not Path(config.output).expanduser().absolute().parent.is_dir():
        raise UserError(f"output={config.output}: its folder does not exist; make it first")
    engine.check_engine(config.engine, config.precision, "auto", detect_processor())
    files = find_images(config.images)
    classifier = load_classifier(config.model, config.backbone, Path(config.outputs), config.tracking_uri)
    predictions, unreadable = _predict_files(classifier, files, config)
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


def _predict_files(
    classifier: Classifier, files: list[str], config: PredictConfig
) -> tuple[dict[str, list[Prediction]], list[BadImageError]]:
    """The most probable classes by file, and the errors of files that cannot be read."""
    probabilities = probability_function(classifier, config.engine, config.precision)
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

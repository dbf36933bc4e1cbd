"""A run as it is compared: its config, figures and cost, and what it said of which test images."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thaw import tracking
from thaw.common.errors import UserError
from thaw.config import stored_config
from thaw.config.schema import Config
from thaw.data import manifest
from thaw.results.predictions_table import PredictionsTable, read_predictions, written_name
from thaw.tracking import EPOCH_PREFIX, StoredRun

CURVES = ("loss", "val_loss", "accuracy", "val_accuracy")


@dataclass(frozen=True)
class ManifestImage:
    """An image of a run: its name in the data set, the sha256 of its content, its class and its split."""

    name: str
    sha256: str
    label: str
    split: str


@dataclass(frozen=True)
class Prediction:
    """What a network said of an image: a class's name, its probability, and that of the true class."""

    predicted: str
    confidence: float
    probability_of_label: float


@dataclass(frozen=True)
class Cost:
    """What a run cost. seconds: in all, without its report. parameters: that the last stage trained.

    milliseconds: of evaluation, for each validation and test image, without the parity check. None: the run does not
    say.
    all_cached: whether all activations came from the cache, so that their computing is not among the seconds.
    """

    seconds: float | None
    parameters: int | None
    milliseconds: float | None
    all_cached: bool


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """A finished run.

    metrics: flat, as in result.json. test_images, predictions: by content key (`content_keys`); no predictions where
    the run kept none. history: values by epoch of each of CURVES that it logged.
    """

    stored: StoredRun
    config: Config
    class_names: tuple[str, ...]
    data_sha256: str
    metrics: Mapping[str, float]
    cost: Cost
    test_images: Mapping[str, ManifestImage]
    training_images: int
    seen: frozenset[str]  # sha256 of the images of training and validation
    predictions: Mapping[str, Prediction]
    history: Mapping[str, Mapping[int, float]] = field(default_factory=dict)

    @property
    def short_id(self) -> str:
        """The first eight characters of the run's id."""
        return self.stored.id[:8]


def read_run(stored: StoredRun) -> ComparedRun:
    """Return a finished run with everything that is compared.

    Raises:
        UserError: Its result, config or manifest are gone, or of another version of thaw.
    """
    config_file = stored.artifact_path("config.yaml")
    result = json.loads(stored.artifact_path("result.json").read_text(encoding="utf-8"))
    images = read_manifest(stored.artifact_path("manifest.csv"))
    test_images = content_keys(image for image in images if image.split == "test")
    class_names = tuple(result["class_names"])
    table = _predictions_file(stored)
    return ComparedRun(
        stored,
        stored_config.parse_stored_config(config_file.read_text(encoding="utf-8"), str(config_file)),
        class_names,
        str(result.get("data_sha256", "")),
        {name: value for name, value in result["metrics"].items() if value is not None},
        _cost(result, sum(image.split in ("val", "test") for image in images)),
        test_images,
        sum(image.split == "train" for image in images),
        frozenset(image.sha256 for image in images if image.split in ("train", "val")),
        _by_content(read_predictions(table, class_names), class_names, test_images) if table else {},
        {name: points for name in CURVES if (points := stored.metric_history(f"{EPOCH_PREFIX}{name}"))},
    )


def read_manifest(file: Path) -> list[ManifestImage]:
    """Return the images that a run used, without bad files."""
    used = (row for row in manifest.read_rows(file) if row.get("split"))
    return [ManifestImage(row["path"], row["sha256"], row["label"], row["split"]) for row in used]


def content_keys(images: Iterable[ManifestImage]) -> dict[str, ManifestImage]:
    """Return images by their sha256; the second one of equal content, by name, has `#2` behind it, and so on."""
    copies: Counter[str] = Counter()
    keyed = {}
    for image in sorted(images, key=lambda image: image.name):
        copies[image.sha256] += 1
        number = copies[image.sha256]
        keyed[image.sha256 if number == 1 else f"{image.sha256}#{number}"] = image
    return keyed


def _by_content(
    table: PredictionsTable, class_names: tuple[str, ...], test_images: Mapping[str, ManifestImage]
) -> dict[str, Prediction]:
    """Return the predictions by content key; empty if the table is of other images than the manifest's."""
    keys = {written_name(image.name): key for key, image in test_images.items()}
    if set(keys) != set(table.images):
        return {}
    rows = zip(table.images, table.predicted, table.confidence, table.probability_of_label, strict=True)
    return {
        keys[name]: Prediction(class_names[predicted], float(confidence), float(of_label))
        for name, predicted, confidence, of_label in rows
    }


def _predictions_file(stored: StoredRun) -> Path | None:
    """Return the run's predictions.csv, from the store or else from its folder; None where it kept none."""
    try:
        file = stored.artifact_path("report/predictions.csv")
    except UserError:
        folder = Path(stored.tags.get(tracking.FOLDER_TAG, ""))
        owner = tracking.owner_of_folder(folder) if folder.is_absolute() else None
        if owner is None or owner[0] != stored.id:  # of another machine, or used anew since
            return None
        file = folder / "report" / "predictions.csv"
    return file if file.is_file() else None


def _cost(result: Mapping[str, Any], evaluated: int) -> Cost:
    """Return a run's cost; `evaluated` is the number of its validation and test images."""
    seconds, stages, cache = result.get("seconds", {}), result.get("stages", []), result.get("cache", {})
    total, evaluate = seconds.get("total"), seconds.get("evaluate")
    if evaluate is not None:
        evaluate -= result.get("parity", {}).get("seconds") or 0.0  # the same few seconds for any network
    return Cost(
        None if total is None else total - seconds.get("report", 0.0),
        stages[-1].get("trainable_params") if stages else None,
        1000 * evaluate / evaluated if evaluate is not None and evaluate > 0 and evaluated else None,
        cache.get("hits", 0) > 0 and not cache.get("misses", 0),
    )

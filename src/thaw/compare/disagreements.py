"""The test images on which settings disagree, with what each said and, where the files are still there, pictures."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from thaw import tracking
from thaw.common.errors import UserError
from thaw.common.parallel import prefetch_map
from thaw.compare.compared_run import ComparedRun, ManifestImage
from thaw.compare.settings import Setting
from thaw.compare.shared_images import SharedImages
from thaw.config.schema import DatasetConfig
from thaw.data.catalog import Catalog
from thaw.data.dataset_table import load_named_catalog
from thaw.data.decode import DecodeOptions, decode, resize
from thaw.data.file_bytes import BadImageError, read_bytes_and_stats
from thaw.data.thumbnails import encode_jpeg

MAX_SHOWN, THUMBNAIL = 40, 160  # images, and pixels of a picture's longer side


@dataclass(frozen=True)
class Answer:
    """What a setting said of an image. runs: how many of `of` runs said so; confidence: their mean."""

    predicted: str
    right: bool
    confidence: float
    runs: int
    of: int


@dataclass(frozen=True, eq=False)
class Disagreement:
    """An image of which not all settings say the same. answers: by setting's row. jpeg: None without its file."""

    image: ManifestImage
    answers: Mapping[int, Answer]
    jpeg: bytes | None = None

    @property
    def decides(self) -> bool:
        """Whether some are right and some wrong."""
        return len({answer.right for answer in self.answers.values()}) == 2


@dataclass(frozen=True)
class Disagreements:
    """The first of all, most telling first. total: how many there are. note: why there are no pictures, or empty."""

    shown: Sequence[Disagreement]
    total: int
    note: str


def find_disagreements(settings: Sequence[Setting], shared: SharedImages) -> Disagreements:
    """Return the images on which settings disagree, with pictures of those shown.

    First come those that some have right and others wrong, then the most confident ones: there one of them is surest
    of what the others contradict.
    """
    found = []
    for key, image in shared.images.items():
        answers = {row: _answer(setting, key, image) for row, setting in enumerate(settings) if setting.tested}
        if len({answer.predicted for answer in answers.values()}) > 1:
            found.append(Disagreement(image, answers))
    found.sort(key=lambda entry: (not entry.decides, -_confidence_of_wrong(entry)))
    shown = found[:MAX_SHOWN]
    if not shown:
        return Disagreements([], 0, "")
    pictures, note = _pictures([entry.image for entry in shown], [run for setting in settings for run in setting.runs])
    return Disagreements([replace(e, jpeg=jpeg) for e, jpeg in zip(shown, pictures, strict=True)], len(found), note)


def dataset_on_this_machine(run: ComparedRun) -> DatasetConfig | None:
    """Return a run's data set with an absolute path, or None where it is no longer there or would be downloaded."""
    dataset = run.config.dataset
    if dataset.path is None:
        return dataset if dataset.name == "digits" else None
    path = Path(run.stored.tags.get(tracking.CWD_TAG, ".")) / Path(dataset.path).expanduser()
    return replace(dataset, path=str(path)) if path.exists() else None


def _answer(setting: Setting, key: str, image: ManifestImage) -> Answer:
    """Return what most of the runs of a setting said that had this image; of equally many the first by name."""
    predictions = [run.predictions[key] for run in setting.tested if key in run.predictions]
    counts = Counter(prediction.predicted for prediction in predictions)
    predicted = min(counts, key=lambda name: (-counts[name], name))
    agreeing = [prediction.confidence for prediction in predictions if prediction.predicted == predicted]
    confidence = sum(agreeing) / len(agreeing)
    return Answer(predicted, predicted == image.label, confidence, len(agreeing), len(predictions))


def _confidence_of_wrong(entry: Disagreement) -> float:
    return max((answer.confidence for answer in entry.answers.values() if not answer.right), default=0.0)


def _pictures(images: Sequence[ManifestImage], runs: Sequence[ComparedRun]) -> tuple[list[bytes | None], str]:
    """Return a JPEG of each image from the first data set that is still there, and a note on those without."""
    dataset = next((found for run in runs if (found := dataset_on_this_machine(run)) is not None), None)
    if dataset is None:
        return [None] * len(images), "The data set is no longer where the runs read it: names only."
    try:
        catalog = load_named_catalog(dataset)
    except UserError as error:
        return [None] * len(images), f"The data set can no longer be read ({error}): names only."
    rows = {name: row for row, name in enumerate(catalog.names)}
    options = DecodeOptions(dataset.bits, dataset.resize)
    pictures = list(prefetch_map(lambda image: _picture(catalog, rows.get(image.name), image, options), images))
    missing = pictures.count(None)
    return pictures, f"{missing} of these files are gone or have changed since: names only." if missing else ""


def _picture(catalog: Catalog, row: int | None, image: ManifestImage, options: DecodeOptions) -> bytes | None:
    if row is None:
        return None
    if catalog.paths is None:
        assert catalog.arrays is not None  # a catalog has paths or arrays
        return encode_jpeg(Image.fromarray(catalog.arrays[row]))
    try:
        content, _, _ = read_bytes_and_stats(catalog.paths[row])
        if hashlib.sha256(content).hexdigest() != image.sha256:
            return None
        picture = decode(content, image.name, size=(THUMBNAIL, THUMBNAIL), options=options)
    except BadImageError:
        return None
    scale = min(1.0, THUMBNAIL / max(picture.width, picture.height))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return encode_jpeg(resize(picture.image, size, picture.box))

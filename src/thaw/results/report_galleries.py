"""The galleries of a report: mistakes, uncertain hits, each class's most typical image, suspected wrong labels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.analysis import image_choice
from thaw.common.errors import UserError
from thaw.common.parallel import prefetch_map, with_progress
from thaw.data.pixels import Pixels
from thaw.data.thumbnails import thumbnail_jpeg
from thaw.report.content import Gallery, GalleryImage

THUMBNAIL_SIDE = 160  # pixels: 5 kB a picture
MAX_TYPICAL = 60  # classes whose most typical image is shown
MAX_NAMED = 3  # files that cannot be shown

Floats = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class _Choice:
    """The images of one gallery, as positions in the split; total: of all such images."""

    key: str
    title: str
    meaning: str
    rows: Sequence[int]
    total: int


def galleries(
    pixels: Pixels,
    indices: npt.NDArray[np.int64],
    names: Sequence[str],
    probabilities: Floats,
    labels: Labels,
    class_names: Sequence[str],
    features: Floats | None = None,
    limit: int = 24,
) -> list[Gallery]:
    """Return the galleries of a split of N images, those that have an image.

    A file that has changed or vanished since the scan is left out, and named in the meaning of its gallery.

    Args:
        pixels: the data set's.
        indices: of the images in its catalog, (N,).
        names: of the images, N.
        probabilities: (N, C).
        labels: (N,).
        class_names: C.
        features: (N, D), by which an image is typical of its class; None: by the probability of its class.
        limit: pictures of a gallery at most, but for the typical ones.
    """
    choices = [choice for choice in _choices(probabilities, labels, features, limit) if choice.rows]
    shown, unread = _thumbnails(pixels, indices, (row for choice in choices for row in choice.rows))
    made = []
    for choice in choices:
        images = [
            _image(row, shown[row], names[row], probabilities[row], int(labels[row]), class_names)
            for row in choice.rows
            if row in shown
        ]
        left_out = _left_out([names[row] for row in choice.rows if row in unread])
        made.append(Gallery(choice.key, choice.title, choice.meaning + left_out, images, choice.total))
    return made


def to_explain(probabilities: Floats, labels: Labels, count: int) -> tuple[list[int], list[int]]:
    """Return positions of `count` hits and of `count` mistakes, at most, that are worth a Grad-CAM.

    The hits are the surest of each class, then the second of each; the mistakes are the most confident.
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    hits = np.flatnonzero(predicted == labels)
    hits = hits[np.argsort(-confidence[hits], kind="stable")]
    seen = np.zeros(probabilities.shape[1], np.int64)
    rank = np.empty(len(hits), np.int64)
    for i, label in enumerate(labels[hits].tolist()):
        rank[i] = seen[label]
        seen[label] += 1
    surest = hits[np.argsort(rank, kind="stable")][:count]
    return surest.tolist(), image_choice.confident_mistakes(probabilities, labels, count)


def readable(pixels: Pixels, indices: npt.NDArray[np.int64], positions: Iterable[int]) -> list[int]:
    """Return those of the positions in `indices` whose image can still be read; one that is gone costs no other."""
    wanted = list(positions)
    _, unread = _thumbnails(pixels, indices, wanted)
    return [position for position in wanted if position not in unread]


def _choices(probabilities: Floats, labels: Labels, features: Floats | None, limit: int) -> list[_Choice]:
    hits = int((probabilities.argmax(axis=1) == labels).sum())
    typical = image_choice.typical_of_classes(probabilities, labels, features)
    suspects = image_choice.suspect_labels(probabilities, labels)
    nearest = "nearest to the mean of its class in the network's features"
    return [
        _Choice(
            "mistakes",
            "Most confident mistakes",
            "Images put into a wrong class; those of which the network was surest come first.",
            image_choice.confident_mistakes(probabilities, labels, limit),
            len(labels) - hits,
        ),
        _Choice(
            "suspects",
            "Suspected wrong labels",
            "Hints, not findings: images whose label is so improbable to the network, and another class so probable, "
            "that the label may be wrong (confident learning). Many are mistakes of the network: look before you "
            "change a label.",
            suspects[:limit],
            len(suspects),
        ),
        _Choice(
            "uncertain",
            "Least certain hits",
            "Images put into the right class; those of which the network was least sure come first.",
            image_choice.uncertain_hits(probabilities, labels, limit),
            hits,
        ),
        _Choice(
            "typical",
            "Each class's most typical image",
            f"Of each class the image that is {'most probable' if features is None else nearest}.",
            typical[:MAX_TYPICAL],
            len(typical),
        ),
    ]


def _thumbnails(
    pixels: Pixels, indices: npt.NDArray[np.int64], rows: Iterable[int]
) -> tuple[Mapping[int, bytes], set[int]]:
    """Return a JPEG of each row's image, decoded once whatever galleries it is in, and the rows that have none."""
    wanted = list(dict.fromkeys(rows))

    def thumbnail(row: int) -> bytes | None:
        try:
            return thumbnail_jpeg(pixels, int(indices[row]), THUMBNAIL_SIDE)
        except (UserError, OSError):  # BadImageError is a UserError
            return None

    jpegs = list(with_progress(prefetch_map(thumbnail, wanted, chunk=4), "pictures of the report", len(wanted)))
    shown = {row: jpeg for row, jpeg in zip(wanted, jpegs, strict=True) if jpeg is not None}
    return shown, set(wanted) - set(shown)


def _left_out(names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - MAX_NAMED:,} more" if len(names) > MAX_NAMED else ""
    return f" Left out, as changed or gone since the scan: {', '.join(names[:MAX_NAMED])}{more}."


def _image(
    row: int, jpeg: bytes, name: str, probabilities: Floats, label: int, class_names: Sequence[str]
) -> GalleryImage:
    """Return a picture with its classes; the note has the true class of a mistake, and the next one of a hit."""
    order = np.argsort(-probabilities, kind="stable")
    predicted, note = int(order[0]), ""
    other = label if predicted != label else int(order[1]) if len(order) > 1 else None
    if other is not None:
        note = f"{class_names[other]}: {percent(float(probabilities[other]))}"
    return GalleryImage(jpeg, name, class_names[label], class_names[predicted], float(probabilities[predicted]), note)


def percent(share: float) -> str:
    """Return a probability as galleries write it: `97.3 %`."""
    return f"{100 * share:.1f} %" if share >= 0.001 or share == 0 else "below 0.1 %"

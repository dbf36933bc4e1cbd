"""Pictures of what a network sees: Grad-CAM of images, the images as they reach it, and its layers as text."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image

from thaw.common.console import progress
from thaw.data.catalog import IntArray
from thaw.data.dataset import Dataset
from thaw.data.image_batches import sample_view
from thaw.data.pixel_stores import Images
from thaw.data.pixels import Pixels
from thaw.data.thumbnails import encode_jpeg, shrunk, thumbnail
from thaw.models.backbone_table import backbone_spec
from thaw.models.eager_keras import run_between
from thaw.models.grad_cam import BATCH_SIZE, GradCam
from thaw.models.heat_overlay import overlay
from thaw.models.network import Network
from thaw.models.preprocessing import PREPROCESSING_MODES, preprocessed_tensor
from thaw.report.content import Gallery, GalleryImage
from thaw.results.report_galleries import percent

THUMBNAIL_SIDE = 192  # pixels, as `GalleryImage` has it
SUMMARY_WIDTH, SUMMARY_LINES = 100, 400  # columns, lines


@dataclass(frozen=True, eq=False)
class PredictedImages:
    """Images of a data set and what a network says of them, n in all.

    indices: int64 (n,), into the catalog of `pixels`. labels: int (n,), true classes by the network's outputs.
    probabilities: float32 (n, C). class_names: C, those of the network.
    """

    pixels: Pixels
    indices: IntArray
    labels: npt.NDArray[np.integer[Any]]
    probabilities: npt.NDArray[np.float32]
    class_names: Sequence[str]

    @property
    def predicted(self) -> IntArray:
        """The most probable class of each image, int64 (n,)."""
        return self.probabilities.argmax(axis=1)


def explanations(model: Any, images: PredictedImages, hits: Sequence[int], mistakes: Sequence[int]) -> list[Gallery]:
    """Return galleries of hits and of mistakes, each picture with the Grad-CAM of the class that was predicted.

    It computes in Keras, in float32: slower than an engine, and nothing is to be converted for a few images.

    Args:
        model: the classifier that gave the probabilities, images (B, S, S, 3) RGB 0-255 -> classes.
        images: of a split.
        hits: positions in `images`, in the order shown; without any there is no such gallery.
        mistakes: the same.

    Raises:
        UserError: the model has no feature map, or a file has changed since the scan.
        BadImageError: a file has changed since the scan.
    """
    grad_cam = GradCam(model)
    right = int((images.predicted == images.labels).sum())
    with progress("explaining predictions", len(hits) + len(mistakes)) as steps:
        shown = [_explained(grad_cam, images, positions, steps) for positions in (hits, mistakes)]
    title, meaning = "Where the network looks", "Bright places speak for the class that it predicts (Grad-CAM)"
    total = len(images.labels)
    galleries = [
        Gallery("explained_hits", f"{title}: hits", f"{meaning}, here rightly.", shown[0], right),
        Gallery("explained_mistakes", f"{title}: mistakes", f"{meaning}, here wrongly.", shown[1], total - right),
    ]
    return [gallery for gallery in galleries if gallery.images]


def _explained(grad_cam: GradCam, images: PredictedImages, positions: Sequence[int], steps: Any) -> list[GalleryImage]:
    shown = []
    for start in range(0, len(positions), BATCH_SIZE):
        batch = np.asarray(positions[start : start + BATCH_SIZE])
        heat = grad_cam(images.pixels.sample(images.indices[batch]), images.predicted[batch])
        shown += [_explained_image(images, position, heat[i]) for i, position in enumerate(batch.tolist())]
        steps.advance(len(batch))
    return shown


def _explained_image(images: PredictedImages, position: int, heat: npt.NDArray[np.float32]) -> GalleryImage:
    index, label, guess = (int(numbers[position]) for numbers in (images.indices, images.labels, images.predicted))
    picture = thumbnail(images.pixels, index, THUMBNAIL_SIDE)
    true, said = images.class_names[label], images.class_names[guess]
    note = "" if label == guess else f"{true}: {percent(float(images.probabilities[position, label]))}"
    return GalleryImage(
        encode_jpeg(picture),
        images.pixels.catalog.names[index],
        true,
        said,
        float(images.probabilities[position, guess]),
        note if heat.any() else f"{note} · nothing speaks for {said}".removeprefix(" · "),
        encode_jpeg(overlay(np.asarray(picture), heat)),
    )


def network_inputs(data: Dataset, network: Network, indices: IntArray, views: int) -> list[Gallery]:
    """Return galleries of training images as they reach the network, and of `views` augmented views of each.

    Args:
        data: the run's data set, of the network's image size.
        network: its preprocessing gives the values that the first gallery names.
        indices: int64 (n,), of training images in the catalog; at least one.
        views: augmented views of each image; without augmentation there are none.

    Raises:
        UserError: a file has changed since the scan.
    """
    read, size = data.pixels.sample(indices), data.pixels.image_size
    low, high = value_range(network.model, read)
    mode = PREPROCESSING_MODES[backbone_spec(network.backbone.name).preprocess]
    meaning = (
        f"Pictures are stretched to {size} x {size} pixels; behind the network's preprocessing, {mode}, the values of "
        f"these lie between {low:.3g} and {high:.3g}."
    )
    total = len(data.labels("train"))
    galleries = [Gallery("inputs", "As the network gets them", meaning, _pictures(data, indices, read), total)]
    augmented = [view for view in data.views("train", views) if view]
    if augmented:
        shown = [_pictures(data, indices, sample_view(data.pixels, indices, view), view.number) for view in augmented]
        meaning = "What augmentation makes of the same pictures in training; validation and test are left unchanged."
        by_picture = [picture for pictures in zip(*shown, strict=True) for picture in pictures]
        galleries.append(Gallery("augmented", "Augmented views", meaning, by_picture, len(by_picture)))
    return galleries


def value_range(model: Any, images: Images) -> tuple[float, float]:
    """Return the lowest and highest value of images, uint8 (B, S, S, 3), behind the network's preprocessing."""
    pixels = tf.constant(images.astype(np.float32))
    (values,) = run_between(model, model.inputs, [pixels], [preprocessed_tensor(model)])
    return float(tf.reduce_min(values)), float(tf.reduce_max(values))


def _pictures(data: Dataset, indices: IntArray, images: Images, view: int | None = None) -> list[GalleryImage]:
    catalog = data.pixels.catalog
    return [
        GalleryImage(
            encode_jpeg(shrunk(Image.fromarray(image), THUMBNAIL_SIDE)),
            catalog.names[index],
            catalog.class_names[catalog.labels[index]],
            note="" if view is None else f"view {view + 1}",
        )
        for index, image in zip(indices.tolist(), images, strict=True)
    ]


def model_summary(model: Any) -> str:
    """Return Keras's summary of a model, 100 columns wide; of a long one the first layers and the sums at the end."""
    text: list[str] = []
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(SUMMARY_WIDTH)  # Keras cuts its table off at the width of the terminal
    try:
        model.summary(line_length=SUMMARY_WIDTH, print_fn=text.append)
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    lines = [line.rstrip() for line in "".join(text).strip().splitlines() if not line.startswith("├")]
    hidden = len(lines) - SUMMARY_LINES
    if hidden > 0:
        end = next(i for i, line in enumerate(lines) if line.startswith("└"))  # of the table
        first = end - hidden - 1
        lines[first:end] = [f"  ... and {end - first:,} lines more; the network has {len(model.layers):,} layers"]
    return "\n".join(lines)

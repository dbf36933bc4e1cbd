"""What a run's report shows of images and of the network: galleries, heat maps, maps of features, inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from thaw.report.content import FeatureMap, Gallery
from thaw.results import feature_maps, report_galleries
from thaw.results.metrics import Evaluation

if TYPE_CHECKING:
    from thaw.data.dataset import Dataset
    from thaw.models.network import Network
    from thaw.run_context import RunContext
    from thaw.training.stage_result import TrainingOutcome

EXPLAINED_IMAGES = 12  # hits, and as many mistakes, that get a heat map: 0.4 s together for EfficientNet-Lite0
LARGE_NETWORK_MACS, EXPLAINED_OF_LARGE = 3e9, 2  # multiplications of an image: from there a heat map takes a second
INPUT_IMAGES, INPUT_VIEWS = 6, 3  # training images that are shown as the network sees them; augmented views of each

Made = TypeVar("Made")


@dataclass
class ReportPictures:
    """The pictures of a report, and remarks on those that could not be made."""

    galleries: list[Gallery] = field(default_factory=list)
    explanations: list[Gallery] = field(default_factory=list)
    feature_maps: list[FeatureMap] = field(default_factory=list)
    inputs: list[Gallery] = field(default_factory=list)
    model_summary: str = ""
    remarks: list[str] = field(default_factory=list)

    def attempt(self, what: str, make: Callable[[], Made], otherwise: Made) -> Made:
        """Return what `make` returns, or `otherwise` and a remark: no picture is worth a run that has trained."""
        try:
            return make()
        except Exception as error:  # a file that changed, memory, whatever a network may raise
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            self.remarks.append(f"There are no {what}: {reason}")
            return otherwise


def report_pictures(context: RunContext, trained: TrainingOutcome, test: Evaluation) -> ReportPictures:
    """Return the pictures of a run's test images, `report=short` without heat maps and maps of features."""
    from thaw.results import network_pictures

    made, data, network = ReportPictures(), trained.data, trained.network
    indices, names = data.splits.test, data.image_names("test")
    made.galleries = made.attempt(
        "galleries",
        lambda: report_galleries.galleries(
            data.pixels, indices, names, test.probabilities, test.labels, data.class_names
        ),
        [],
    )
    made.inputs = made.attempt(
        "images as the network sees them",
        lambda: network_pictures.network_inputs(data, network, _some_readable(data), INPUT_VIEWS),
        [],
    )
    made.model_summary = made.attempt("lines on the model", lambda: network_pictures.model_summary(network.model), "")
    if context.config.report == "short":
        return made
    chosen = report_galleries.to_explain(test.probabilities, test.labels, explained_count(network))
    predicted = network_pictures.PredictedImages(
        data.pixels, indices, test.labels, test.probabilities, data.class_names
    )
    hits, mistakes = (report_galleries.readable(data.pixels, indices, positions) for positions in chosen)
    made.explanations = made.attempt(
        "heat maps", lambda: network_pictures.explanations(network.model, predicted, hits, mistakes), []
    )
    maps = feature_maps.feature_maps(context, trained, test.probabilities)
    made.feature_maps = maps.maps
    made.remarks += maps.remarks
    return made


def explained_count(network: Network) -> int:
    """Return how many hits, and as many mistakes, get a heat map."""
    large = sum(layer.macs or 0 for layer in network.backbone.graph.layers) > LARGE_NETWORK_MACS
    return EXPLAINED_OF_LARGE if large else EXPLAINED_IMAGES


def _some_readable(data: Dataset) -> npt.NDArray[np.int64]:
    """Return catalog indices of a few training images, from the first to the last."""
    train = data.splits.train
    positions = np.unique(np.linspace(0, len(train) - 1, INPUT_IMAGES).round().astype(int)).tolist()
    return train[report_galleries.readable(data.pixels, train, positions)]

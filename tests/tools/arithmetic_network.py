"""A network of arithmetic, which needs no TensorFlow: `python -m tests.tools.arithmetic_network FOLDER OUTPUT SECONDS`.

Run so, it predicts like `thaw predict`, takes SECONDS a batch, and prints its memory in kB at every group of files.
"""

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np

from thaw.config.tool_schemas import PredictConfig
from thaw.frozen.engine import EngineChoice
from thaw.results import trained_classifier
from thaw.results.classifier import Classifier, InferenceSettings, ProbabilityFunction
from thaw.tools import partial_listing, predict

NAMES = ["dark", "grey", "bright"]
NETWORK = Classifier(None, NAMES, 8, InferenceSettings())
CHOICE = EngineChoice("openvino", "1", "float32", "float32")


def probabilities(images: np.ndarray) -> np.ndarray:
    """Of (B, 8, 8, 3): what is missing to full brightness, a constant, and the brightness."""
    mean = images.mean(axis=(1, 2, 3)) / 255
    return np.stack([(1 - mean) * 0.75, np.full(len(mean), 0.25), mean * 0.75], axis=1).astype(np.float32)


def predict_with(function: Callable, config: PredictConfig, network: Classifier = NETWORK) -> None:
    """Run `thaw predict` with a function of images in the network's place."""
    with (
        patch.object(predict.partial_identity, "network_identity", lambda model: ["a network"]),
        patch.object(predict, "load_classifiers", lambda *_: [network]),
        patch.object(
            trained_classifier, "probability_function", lambda *_, **__: ProbabilityFunction(CHOICE, function)
        ),
    ):
        predict.predict(config)


def main() -> None:
    images, output, seconds = sys.argv[1:]

    def slowly(images: np.ndarray) -> np.ndarray:
        time.sleep(float(seconds))
        return probabilities(images)

    commit = partial_listing.PartialListing.commit

    def printing_commit(self: partial_listing.PartialListing, files: int) -> None:
        commit(self, files)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        print(f"memory {pages * resource.getpagesize() // 1000}", flush=True)

    partial_listing.COMMIT_SECONDS = 0.0
    partial_listing.PartialListing.commit = printing_commit
    predict_with(slowly, PredictConfig(images=images, output=output, top=2))


if __name__ == "__main__":
    main()

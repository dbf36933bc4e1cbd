"""A run's quantised frozen part: kept beside its network, and its accuracy against that of the network in float32."""

import dataclasses
import importlib.metadata
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.common.console import progress, say
from thaw.data.seeds import rng_for
from thaw.models import saved_model
from thaw.run_context import RunContext
from thaw.training.stage_result import TrainingOutcome

MAX_IMAGES = 2000  # of the test split that run in float32 again
Z95 = 1.96


@dataclass(frozen=True)
class PrecisionComparison:
    """Two networks' accuracy on the same images. Fields are keys of result.json: not renamed.

    images: of the test split. quantized, float32: accuracies; each interval is Wilson's of 95 %. difference: the first
    less the second, with the 95 % interval of Agresti and Min for paired proportions. p_value: of McNemar's exact test
    on the images that one of both gets right.
    """

    images: int
    quantized: float
    quantized_interval: tuple[float, float]
    float32: float
    float32_interval: tuple[float, float]
    difference: float
    difference_interval: tuple[float, float]
    only_quantized_right: int
    only_float32_right: int
    p_value: float

    def line(self) -> str:
        """Return the comparison as one printed line."""
        q, f, d = self.quantized_interval, self.float32_interval, self.difference_interval
        return (
            f"int8 against float32 on {self.images:,} test images: accuracy {self.quantized:.4f} "
            f"({q[0]:.4f} to {q[1]:.4f}), the same network in float32 (its head was "
            f"fitted on int8) {self.float32:.4f} ({f[0]:.4f} to {f[1]:.4f}); difference "
            f"{self.difference:+.4f} ({d[0]:+.4f} to {d[1]:+.4f}), p = {self.p_value:.2g}"
        )


def compare_accuracies(quantized: npt.NDArray[np.bool_], full: npt.NDArray[np.bool_]) -> PrecisionComparison:
    """Compare which images, bool (N,), each of two networks gets right."""
    from scipy.stats import binomtest

    n = len(quantized)
    only_quantized, only_full = int((quantized & ~full).sum()), int((full & ~quantized).sum())
    b, c, count = only_quantized + 0.5, only_full + 0.5, n + 2
    center = (b - c) / count
    margin = Z95 * math.sqrt(b + c - (b - c) ** 2 / count) / count
    discordant = only_quantized + only_full

    def interval(right: npt.NDArray[np.bool_]) -> tuple[float, float]:
        found = binomtest(int(right.sum()), n).proportion_ci(0.95, "wilson")
        return float(found.low), float(found.high)

    return PrecisionComparison(
        images=n,
        quantized=float(quantized.mean()),
        quantized_interval=interval(quantized),
        float32=float(full.mean()),
        float32_interval=interval(full),
        difference=(only_quantized - only_full) / n,
        difference_interval=(center - margin, center + margin),
        only_quantized_right=only_quantized,
        only_float32_right=only_full,
        p_value=float(binomtest(only_quantized, discordant).pvalue) if discordant else 1.0,
    )


def compare_with_float32(
    context: RunContext, trained: TrainingOutcome, probabilities: npt.NDArray[np.float32]
) -> dict[str, Any]:
    """Compare the accuracy of a run in int8 with that of its network in float32, and print and log both.

    The engine runs the network in float32; drafts are not compared, as they are for comparing runs.

    Args:
        context: of the run.
        trained: its network.
        probabilities: of the test split, as the run computed them, float32 (N, C).

    Returns:
        What result.json has of the quantisation; empty for a run without.
    """
    calibration = trained.calibration()
    if calibration is None or not trained.cuts()[-1]:
        return {}
    entry: dict[str, Any] = {
        "calibration_sha256": calibration.sha256,
        "calibration_images": len(calibration.indices),
        "nncf": importlib.metadata.version("nncf"),
    }
    if trained.engine.draft:
        return entry
    test = trained.data.splits.test
    chosen = np.sort(rng_for(trained.data.seed, "sample").permutation(len(test))[:MAX_IMAGES])
    labels = trained.data.labels("test")[chosen]
    full = _float32_probabilities(trained, test[chosen])
    comparison = compare_accuracies(probabilities[chosen].argmax(axis=1) == labels, full.argmax(axis=1) == labels)
    say(comparison.line())
    if comparison.difference_interval[0] > 0:
        say(
            "note: model.keras alone, which is float32, is less accurate than this run: its head was fitted on int8. "
            "Predict with thaw, or train with frozen_precision=auto"
        )
    elif comparison.difference_interval[1] < 0:
        say("note: float32 is more accurate: leave frozen_precision=int8 out")
    content = asdict(comparison)
    context.tracked.log_metrics(
        {f"int8/{name}": value for name, value in content.items() if isinstance(value, (int, float))}
    )
    return entry | {"accuracy": content}


def _float32_probabilities(trained: TrainingOutcome, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    from thaw.frozen.activation_rows import BATCH_SIZE
    from thaw.frozen.inference import TwoPartClassifier

    choice = dataclasses.replace(trained.engine, frozen="float32")
    classifier, outputs = TwoPartClassifier(trained.network, trained.cuts()[-1], choice), []
    with progress("in float32", len(indices)) as steps:
        for start in range(0, len(indices), BATCH_SIZE):
            images = trained.data.pixels.sample(indices[start : start + BATCH_SIZE])
            outputs.append(classifier(images))
            steps.advance(len(images))
    return np.concatenate(outputs)


def save_quantized_part(context: RunContext, trained: TrainingOutcome, folder: Path) -> Mapping[str, str]:
    """Write the quantised frozen part of the last stage into the network's folder, log it, and return its hash.

    It is what the head, or the thawed part, was fitted on, and what predictions are made with.
    """
    from thaw.frozen import quantization
    from thaw.frozen.activations import build_frozen_part
    from thaw.models.network import cut_at

    calibration, index = trained.calibration(), trained.cuts()[-1]
    if calibration is None or not index:
        return {}
    part = build_frozen_part(
        trained.network,
        cut_at(trained.network, index),
        context.config.backbone,
        trained.engine,
        network_cache=context.cache,
        calibration=calibration,
    )
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / saved_model.QUANTIZED_FILE
    quantization.save_quantized(part.converted(part.model), file)
    for name in saved_model.quantized_files(folder):
        context.tracked.log_artifact(name, "network")
    sha256 = saved_model.quantized_sha256(folder)
    context.tracked.set_tags({saved_model.QUANTIZED_TAG: sha256})
    return {"file": file.name, "sha256": sha256}

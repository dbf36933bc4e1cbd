"""The figures of an evaluation: of all its images, and, where the network has seen some, of those that it has not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thaw.analysis.figures import SplitFigures, Verdict
from thaw.analysis.split_analysis import analyse_split
from thaw.analysis.verdict import verdict
from thaw.results.evaluation_data import EvaluatedImages
from thaw.results.evaluation_seen import TrainingRecord, count_seen, describe_seen
from thaw.results.metrics import Evaluation, evaluate

UNSEEN = "unseen images"


@dataclass(frozen=True, eq=False)
class ImageFigures:
    """The figures of N images. covers: which, as "all 60 test images"."""

    covers: str
    evaluation: Evaluation
    split: SplitFigures

    def line(self) -> str:
        """Return accuracy, interval, macro F1 and loss as one printed line."""
        share, metrics = self.split.accuracy, self.evaluation.metrics
        return (
            f"accuracy {metrics['accuracy']:.4f} on {self.covers} (95 % interval {share.low or 0.0:.4f} to "
            f"{share.high or 0.0:.4f}) · macro F1 {metrics['macro_f1']:.4f} · loss {metrics['loss']:.4f}"
        )


@dataclass(frozen=True, eq=False)
class EvaluationFigures:
    """The figures of all images, the headline.

    without_seen: of those that the network has not seen, where others are among all of them; None also where it has
    seen every image. seen_counts: as `count_seen`. record_gap: what is not known of the network's training; empty if
    all is known.
    """

    all_images: ImageFigures
    without_seen: ImageFigures | None
    seen_counts: Mapping[str, int]
    record_gap: str

    def warning(self) -> str:
        """Return why the headline is not to be trusted, and what counts instead; empty without seen images."""
        seen = describe_seen(self.seen_counts)
        if not seen:
            return ""
        if self.without_seen is None:
            return f"not to be trusted: {seen}, and no other image is left"
        return f"not to be trusted: {seen}. Without them: {self.without_seen.line()}"

    def verdict(self) -> Verdict:
        """Return the verdict of the headline, with the warning next to it."""
        plain = verdict(self.all_images.split)
        notes = [note for note in (self.warning(), self.record_gap) if note]
        return Verdict("; ".join([plain.sentence, *notes]), [plain.lines[0], *notes, *plain.lines[1:]])


def evaluation_figures(
    data: EvaluatedImages,
    probabilities: npt.NDArray[np.float32],
    class_names: Sequence[str],
    record: TrainingRecord,
    temperature: float | None,
) -> EvaluationFigures:
    """Return the figures of `probabilities`, float32 (N, C).

    Args:
        data: The N images.
        probabilities: Of the network.
        class_names: The network's, C of them.
        record: Of the network's training.
        temperature: That its run fitted.
    """
    known = record.class_counts
    training = None if known is None or not known.keys() <= {*class_names} else [known[name] for name in class_names]

    def figures_of(rows: npt.NDArray[np.bool_], covers: str, name: str) -> ImageFigures:
        labels = data.labels[rows]
        split = analyse_split(
            name, probabilities[rows], labels, class_names, training_counts=training, temperature=temperature
        )
        return ImageFigures(covers, evaluate(probabilities[rows], labels, class_names), split)

    seen = record.find(data.sha256)
    unseen = np.array([image is None for image in seen], bool)
    count = f"{int(unseen.sum()):,} images that it has not seen"
    return EvaluationFigures(
        figures_of(np.ones(len(unseen), bool), data.covers, data.title),
        figures_of(unseen, f"the {count}", f"{data.title}, {UNSEEN}") if 0 < unseen.sum() < len(unseen) else None,
        count_seen(seen),
        record.unknown_line(),
    )

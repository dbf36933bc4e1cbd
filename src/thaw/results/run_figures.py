"""What a run's probabilities say: the figures of validation and test, the temperature, and the verdict in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thaw.analysis import calibration, split_analysis
from thaw.analysis import verdict as verdict_of_figures
from thaw.analysis.figures import SplitFigures, Verdict
from thaw.analysis.verdict import HeadAlone, HeadKept
from thaw.results.metrics import Evaluation
from thaw.training import head_snapshot

if TYPE_CHECKING:
    from thaw.run_context import RunContext
    from thaw.training.stage_result import TrainingOutcome


@dataclass(frozen=True)
class RunFigures:
    """The figures of a run.

    temperature: fitted on validation, None where none could be. The figures of validation have no calibrated ones: the
    temperature was chosen on these images.
    """

    test: SplitFigures
    val: SplitFigures
    temperature: float | None
    verdict: Verdict

    def calibration_entry(self) -> dict[str, Any]:
        """Return `calibration` of result.json."""
        before, after = self.test.calibration, self.test.calibrated
        entry: dict[str, Any] = {"temperature": self.temperature, "fitted_on": "val", "images": self.val.images}
        entry["test"] = {"ece": before.ece, "brier": before.brier, "nll": before.nll}
        if after is not None:
            entry["test_calibrated"] = {"ece": after.ece, "brier": after.brier, "nll": after.nll}
        return entry


def run_figures(context: RunContext, trained: TrainingOutcome, evaluations: Mapping[str, Evaluation]) -> RunFigures:
    """Return the figures of a run's evaluations of `val` and `test`."""
    data, val, test = trained.data, evaluations["val"], evaluations["test"]
    counts = data.class_counts().tolist()
    temperature = calibration.fit_temperature(val.probabilities, val.labels)
    figures = {
        split: split_analysis.analyse_split(
            split,
            evaluation.probabilities,
            evaluation.labels,
            data.class_names,
            training_counts=counts,
            temperature=temperature if split == "test" else None,
        )
        for split, evaluation in (("val", val), ("test", test))
    }
    verdict = verdict_of_figures.verdict(
        figures["test"],
        head_alone=_head_alone(context, test) if trained.left_out is None else None,
        head_kept=_head_kept(trained, figures["val"]),
        validation=figures["val"],
    )
    return RunFigures(figures["test"], figures["val"], temperature, verdict)


def _head_kept(trained: TrainingOutcome, validation: SplitFigures) -> HeadKept | None:
    """Return what the verdict says of a head alone that was kept, with the figure of the network that was judged."""
    left_out = trained.left_out
    if left_out is None:
        return None
    head = validation.accuracy.value if left_out.measure == "accuracy" else left_out.head
    return HeadKept(left_out.measure, left_out.head if head is None else head, left_out.thawed)


def _head_alone(context: RunContext, test: Evaluation) -> HeadAlone | None:
    """Return how the head alone did on the test images, before anything was thawed; None where that is not known."""
    kept = head_snapshot.load_head_alone(context.folder, context.tracked.id)
    if kept is None or len(kept["test"]) != len(test.labels):
        return None
    right, head = (p.argmax(axis=1) == test.labels for p in (test.probabilities, kept["test"]))
    return HeadAlone(accuracy_right=head, run_right=right)

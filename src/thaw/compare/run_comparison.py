"""A comparison of runs: the settings, their figures, every pair of them, and where they disagree."""

from collections.abc import Sequence
from dataclasses import dataclass

from thaw.common.console import progress
from thaw.compare import setting_figures
from thaw.compare.compared_run import ComparedRun
from thaw.compare.disagreements import Disagreements, find_disagreements
from thaw.compare.setting_figures import RANGE, PairFigures, SettingFigures
from thaw.compare.settings import DifferingKey, Setting, differing_keys, group_runs
from thaw.compare.shared_images import check_same_classes, find_shared_images
from thaw.compare.worth_sentence import cheapest_first, worth_sentence

COST_NOTE = (
    "Seconds are those of the whole run without its report. Milliseconds an image are those of its evaluation, "
    "from where its activations were kept, without the check of the saved network."
)


@dataclass(frozen=True, eq=False)
class RunComparison:
    """Everything that a comparison shows.

    rows: the figures of each setting, in the order of `settings`.
    test_images: on how many the settings are compared. remarks: what was left out or cannot be known. notes: what the
    figures mean.
    """

    sentence: str
    settings: Sequence[Setting]
    rows: Sequence[SettingFigures]
    pairs: Sequence[PairFigures]
    differing: Sequence[DifferingKey]
    disagreements: Disagreements
    test_images: int
    remarks: Sequence[str]
    notes: Sequence[str]

    @property
    def ranked(self) -> list[int]:
        """Indices of the rows, best accuracy first."""
        return sorted(range(len(self.rows)), key=lambda i: -(self.rows[i].accuracy.value or 0.0))


def compare_runs(
    runs: Sequence[ComparedRun], *, aggregate: bool = True, common: bool = False, remarks: Sequence[str] = ()
) -> RunComparison:
    """Compare two runs or more.

    Args:
        runs: In the order in which they are shown.
        aggregate: Whether runs of one config, which differ in seed or fold, are one row.
        common: Whether to compare on the test images that all have, where these differ.
        remarks: Sentences on how the runs were chosen.

    Raises:
        UserError: Classes or test images differ.
    """
    check_same_classes(runs)
    settings = group_runs(runs, aggregate=aggregate)
    shared = find_shared_images(settings, common=common)
    with progress("comparing", len(settings)) as bar:
        rows = []
        for setting in settings:
            rows.append(setting_figures.setting_figures(setting, shared))
            bar.advance()
    pairs = setting_figures.pair_figures(settings, shared, cheapest_first(rows))
    return RunComparison(
        worth_sentence(rows, pairs),
        settings,
        rows,
        pairs,
        differing_keys(settings),
        find_disagreements(settings, shared),
        len(shared.images),
        [*remarks, *shared.remarks, *_remarks(settings, rows)],
        [*_interval_notes(rows), COST_NOTE],
    )


def _interval_notes(rows: Sequence[SettingFigures]) -> list[str]:
    """Say what the intervals of accuracies are."""
    kinds = dict.fromkeys(row.spread.interval for row in rows if row.spread)
    notes = ["Interval of a single run: 95 %, Wilson's."] if any(row.spread is None for row in rows) else []
    notes += [f"Interval of {'a few' if kind == RANGE else 'several'} runs: {kind}; accuracy: mean." for kind in kinds]
    return notes


def _remarks(settings: Sequence[Setting], rows: Sequence[SettingFigures]) -> list[str]:
    remarks = []
    if repeated := [f"{setting.label} ({setting.repetitions})" for setting in settings if setting.repetitions]:
        remarks.append(f"Runs that trained the very weights of another one are left out: {', '.join(repeated)}.")
    if without := [row.label for row in rows if row.own_images]:
        remarks.append(
            f"Without predictions, and so not tested against others: {', '.join(without)}. Their figures are those "
            "that the runs logged. Runs of a sweep keep their predictions with tracking.complete=all."
        )
    if partly := [setting.label for setting in settings if 0 < len(setting.tested) < len(setting.runs)]:
        remarks.append(f"Only some of the runs kept their predictions, and their figures count: {', '.join(partly)}.")
    if cached := [row.label for row in rows if any(run.cost.all_cached for run in row.runs)]:
        remarks.append(
            f"Activations came from the cache, so that their computing is not among the seconds: {', '.join(cached)}."
        )
    if len({run.training_images for row in rows for run in row.runs}) > 1:
        counts = ", ".join(f"{row.label} {row.runs[0].training_images:,}" for row in rows)
        remarks.append(f"The training images differ in number: {counts}.")
    return remarks

"""compare.html: a comparison as one page, which opens from disk and needs no network."""

from thaw.analysis.paired import PERMUTATION
from thaw.compare.run_comparison import RunComparison
from thaw.compare.setting_figures import PairFigures
from thaw.compare.worth_sentence import points
from thaw.report.comparison_charts import ComparedPair, ComparedSetting, comparison_drawings
from thaw.report.page_base import render_page

MAX_PAIRS = 30  # rows of the page's table


def comparison_page(comparison: RunComparison) -> str:
    """Return the page."""
    rows, pairs, names = comparison.rows, pairs_by_certainty(comparison), numbered_labels(comparison)
    runs = sum(len(row.runs) for row in rows)
    settings = [
        ComparedSetting(
            names[i], rows[i].accuracy, rows[i].seconds, [run.history for run in rows[i].runs if run.history]
        )
        for i in comparison.ranked
    ]
    drawn = [
        ComparedPair(
            names[p.a].partition(" ")[0], names[p.b].partition(" ")[0], d.difference, d.low, d.high, d.significant
        )
        for p in pairs
        for d in (p.difference,)
    ]
    return render_page(
        "comparison.html",
        "thaw.compare",
        title=" · ".join(row.label for row in rows) if len(rows) <= 3 else f"{len(rows)} settings compared",
        subtitle=f"{runs} runs compared on {comparison.test_images:,} test images",
        c=comparison,
        pairs=pairs,
        names=names,
        max_pairs=MAX_PAIRS,
        repeated=any(row.spread for row in rows),
        unmatched=any(row.own_images for row in rows),
        drawings=comparison_drawings(settings, drawn),
        points=points,
        pair_note=_pair_note(comparison),
    )


def numbered_labels(comparison: RunComparison) -> list[str]:
    """Return the label of each row; of more than two with its rank, which charts show where a label is too long."""
    labels = [row.label for row in comparison.rows]
    if len(labels) > 2:
        for rank, i in enumerate(comparison.ranked, 1):
            labels[i] = f"{rank} {labels[i]}"
    return labels


def pairs_by_certainty(comparison: RunComparison) -> list[PairFigures]:
    """Return the pairs, smallest p first."""
    return sorted(comparison.pairs, key=lambda pair: (pair.difference.p, -abs(pair.difference.difference)))


def _pair_note(comparison: RunComparison) -> str:
    note = "p of a single run against another: McNemar's exact test. The interval: Tango's."
    if any(pair.difference.test == PERMUTATION for pair in comparison.pairs):
        note += (
            " Of several runs: a permutation test and a bootstrap over the images, which say what other images might "
            "give, not what other seeds might."
        )
    if len(comparison.pairs) > 1:
        note += f" Corrected for all {len(comparison.pairs):,} pairs by Holm's method."
    return note

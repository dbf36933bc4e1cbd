"""One sentence that answers "was it worth it?": the cheaper setting against the dearer one."""

from collections.abc import Sequence

from thaw.analysis.paired import PairedDifference
from thaw.compare.setting_figures import RANGE, PairFigures, SettingFigures, Spread

LUCK = "the difference may be luck"


def cheapest_first(figures: Sequence[SettingFigures]) -> list[int]:
    """Return the settings' indices by their seconds; those that do not say come last."""
    return sorted(range(len(figures)), key=lambda i: (figures[i].seconds is None, figures[i].seconds or 0.0, i))


def worth_sentence(figures: Sequence[SettingFigures], pairs: Sequence[PairFigures]) -> str:
    """Return the sentence: of two settings, of the cheapest and the best of more, or on the spread of a single one.

    Where the cheapest is the best too, it stands against the second best.
    """
    if len(figures) == 1:
        return _single(figures[0])
    order = cheapest_first(figures)
    ranked = sorted((i for i in order if figures[i].accuracy.value is not None), key=lambda i: -_accuracy(figures[i]))
    if len(ranked) < 2:
        return "The runs have no test accuracy that could be compared."
    cheapest, best = order[0], ranked[0]
    if len(figures) == 2:
        return _against(figures, pairs, *order, corrected=0)
    if best == cheapest:
        start = (
            f"Of {len(figures)} settings, {figures[best].label} is the best and the cheapest; against the next best: "
        )
        other = ranked[1]
    else:
        start, other = f"Of {len(figures)} settings, the cheapest against the best: ", best
    if figures[cheapest].accuracy.value is None:
        return f"Of {len(figures)} settings, {figures[best].label} is the best: {_accuracy(figures[best]):.3f}."
    return start + _against(figures, pairs, cheapest, other, corrected=len(pairs))


def points(share: float, *, sign: bool = True) -> str:
    """Return a difference of shares in points: `+4.3`."""
    text = f"{100 * share:+.1f}" if sign else f"{100 * share:.1f}"
    return "0.0" if text == "-0.0" else text


def p_text(p: float) -> str:
    """Return `p = 0.002`, `p < 0.001`."""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def more_time(seconds: float) -> str:
    """Return a difference in time in words: `for 8 minutes more`, `for 3 seconds less`."""
    size = abs(seconds)
    if size < 0.5:
        return "in the same time"
    if size < 90:
        amount, unit = f"{size:.0f}", "second"
    elif size < 5400:
        amount, unit = f"{size / 60:.0f}", "minute"
    else:
        amount, unit = f"{size / 3600:.1f}", "hour"
    return f"for {amount} {unit}{'s' * (amount != '1')} {'more' if seconds > 0 else 'less'}"


def _single(figures: SettingFigures) -> str:
    spread = figures.spread
    if spread is None:
        return "The runs trained the same weights, bit for bit: there is nothing to compare."
    return f"{figures.repeats} of one config: test accuracy {spread.mean:.3f} on average, {_spread(spread)}."


def _spread(spread: Spread) -> str:
    deviation = "" if spread.deviation is None else f"deviation {spread.deviation:.3f}, "
    if spread.interval == RANGE:
        return f"{deviation}{spread.low:.3f} to {spread.high:.3f}"
    return f"{deviation}bootstrap interval of the mean {spread.low:.3f} to {spread.high:.3f}"


def _against(figures: Sequence[SettingFigures], pairs: Sequence[PairFigures], a: int, b: int, *, corrected: int) -> str:
    """Return the sentence on two settings, a being the cheaper one. corrected: for how many pairs p is, 0 for one."""
    pair = next((pair.difference for pair in pairs if (pair.a, pair.b) == (a, b)), None)
    difference = pair.difference if pair else _accuracy(figures[b]) - _accuracy(figures[a])
    sentence = f"{_named(figures[a])} against {_named(figures[b])}: {points(difference)} points"
    if pair is not None:
        several = corrected > 1
        p = p_text(pair.corrected_p) + (f" corrected for {corrected} pairs" if several else "")
        interval = f"95 % interval{' of this pair alone' * several}"
        sentence += f" ({interval} {points(pair.low, sign=False)} to {points(pair.high, sign=False)}, {p})"
    first, second = figures[a].seconds, figures[b].seconds
    if first is not None and second is not None:
        sentence += f", {more_time(second - first)}"
    return f"{sentence}{_conclusion(figures, pair, a, b)}."


def _conclusion(figures: Sequence[SettingFigures], pair: PairedDifference | None, a: int, b: int) -> str:
    if pair is None:
        without = [figures[i].label for i in (a, b) if figures[i].own_images]
        return f"; not tested, as {' and '.join(without)} kept no predictions" if without else "; not tested"
    if not pair.significant:
        return f": {LUCK}" if pair.difference else ": no difference was found"
    return "" if pair.difference > 0 else ": the cheaper one is better"


def _named(figures: SettingFigures) -> str:
    repeats = f" ({figures.repeats})" if figures.repeats else ""
    return f"{figures.label} {_accuracy(figures):.3f}{repeats}"


def _accuracy(figures: SettingFigures) -> float:
    value = figures.accuracy.value
    assert value is not None  # asked before
    return value

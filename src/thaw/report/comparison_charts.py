"""Charts of a comparison of runs: accuracies, differences, cost, and learning curves laid over each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import altair as alt

from thaw.analysis.figures import Share
from thaw.report.drawing import Drawing, chart_names, rows

ROW_HEIGHT = 26  # of a bar with its name
MAX_CURVES, MAX_ROWS = 10, 40  # settings whose curves are drawn, as there are ten colours; rows of other charts


@dataclass(frozen=True)
class ComparedSetting:
    """What the charts show of a setting.

    label: its first word tells it apart where there is no room for more. histories: of each run, values by epoch.
    """

    label: str
    accuracy: Share
    seconds: float | None
    histories: Sequence[Mapping[str, Mapping[int, float]]]


@dataclass(frozen=True)
class ComparedPair:
    """What the charts show of a pair: the accuracy of `b` less that of `a`, with its interval."""

    a: str
    b: str
    difference: float
    low: float
    high: float
    significant: bool


def comparison_drawings(settings: Sequence[ComparedSetting], pairs: Sequence[ComparedPair]) -> list[Drawing]:
    """Return the drawings of a comparison; settings: best first, pairs: the most certain differences first."""
    names = chart_names([setting.label for setting in settings])
    drawings = [accuracy_drawing(settings, names)]
    if len(pairs) > 1:
        drawings.append(difference_drawing(pairs))
    if sum(setting.seconds is not None for setting in settings) > 1:
        drawings.append(cost_drawing(settings, names))
    if any(setting.histories for setting in settings):
        drawings.append(curves_drawing(settings, names))
    return drawings


def accuracy_drawing(settings: Sequence[ComparedSetting], names: Sequence[str]) -> Drawing:
    """Draw the test accuracy of each setting with its 95 % interval."""
    values = [
        {"setting": name, "accuracy": s.accuracy.value, "low": s.accuracy.low, "high": s.accuracy.high}
        for name, s in list(zip(names, settings, strict=True))[:MAX_ROWS]
        if s.accuracy.value is not None
    ]
    base = alt.Chart(rows(values)).encode(
        y=alt.Y("setting:N", sort=None, title=None),
        tooltip=[
            alt.Tooltip("setting:N"),
            *(alt.Tooltip(f"{name}:Q", format=".4f") for name in ("accuracy", "low", "high")),
        ],
    )
    scale = alt.Scale(zero=False, nice=True)
    span = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("low:Q", title="test accuracy", scale=scale, axis=alt.Axis(format=".1%", tickCount=5)), x2="high:Q"
    )
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(x=alt.X("accuracy:Q", scale=scale))
    chart = alt.LayerChart(layer=[span, dots], height=max(60, ROW_HEIGHT * len(values)))
    return Drawing(
        "accuracy",
        "Test accuracy",
        "Test accuracy of each setting, best first, with its interval.",
        [chart],
        "comparison.csv",
    )


def difference_drawing(pairs: Sequence[ComparedPair]) -> Drawing:
    """Draw the difference of each pair in points, against the line of no difference."""
    values = [
        {
            "pair": f"{pair.b} − {pair.a}",
            "points": 100 * pair.difference,
            "low": 100 * pair.low,
            "high": 100 * pair.high,
            "certain": "yes" if pair.significant else "may be luck",
        }
        for pair in pairs[:MAX_ROWS]
    ]
    for value, name in zip(values, chart_names([str(value["pair"]) for value in values]), strict=True):
        value["pair"] = name
    base = alt.Chart(rows(values)).encode(
        y=alt.Y("pair:N", sort=None, title=None),
        color=alt.Color("certain:N", title="a difference", scale=alt.Scale(domain=["yes", "may be luck"])),
        tooltip=[
            alt.Tooltip("pair:N"),
            *(alt.Tooltip(f"{name}:Q", format="+.2f") for name in ("points", "low", "high")),
        ],
    )
    span = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("low:Q", title="points of test accuracy", axis=alt.Axis(tickCount=7)), x2="high:Q"
    )
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(x=alt.X("points:Q"))
    zero = alt.Chart(rows([{"points": 0}])).mark_rule(strokeDash=[4, 4]).encode(x="points:Q")
    chart = alt.LayerChart(layer=[zero, span, dots], height=max(60, ROW_HEIGHT * len(values)))
    shown = f" The first {MAX_ROWS} of {len(pairs)} pairs." if len(pairs) > MAX_ROWS else ""
    described = (
        "Differences of test accuracy on the same images with their 95 % intervals, by the settings' ranks; 0 is no "
        f"difference.{shown}"
    )
    return Drawing("differences", "Differences", described, [chart], "comparison.json")


def cost_drawing(settings: Sequence[ComparedSetting], names: Sequence[str]) -> Drawing:
    """Draw accuracy over seconds."""
    values = [
        {"setting": name, "short": name.partition(" ")[0], "accuracy": s.accuracy.value, "seconds": s.seconds}
        for name, s in zip(names, settings, strict=True)
        if s.accuracy.value is not None and s.seconds
    ]
    base = alt.Chart(rows(values)).encode(
        x=alt.X(
            "seconds:Q", scale=alt.Scale(zero=False, nice=True, padding=20), axis=alt.Axis(format="~s", tickCount=5)
        ),
        y=alt.Y(
            "accuracy:Q", scale=alt.Scale(zero=False, nice=True, padding=15), axis=alt.Axis(format=".1%", tickCount=5)
        ),
        tooltip=[
            alt.Tooltip("setting:N"),
            alt.Tooltip("accuracy:Q", format=".4f"),
            alt.Tooltip("seconds:Q", format=",.0f"),
        ],
    )
    dots = base.mark_point(filled=True, size=90, opacity=1)
    text = base.mark_text(dy=-12, limit=160).encode(text="short:N")
    chart = alt.LayerChart(layer=[dots, text], height=240)
    return Drawing("cost", "Accuracy and time", "Test accuracy over the seconds of a run.", [chart], "comparison.csv")


def curves_drawing(settings: Sequence[ComparedSetting], names: Sequence[str]) -> Drawing:
    """Draw validation's accuracy and loss over the epochs, a line a run, the runs of a setting in one colour."""
    shown = list(zip(names, settings, strict=True))[:MAX_CURVES]
    panels: list[alt.Chart | alt.LayerChart] = []
    for metric, title, form in (
        ("val_accuracy", "validation accuracy", ".1%"),
        ("val_loss", "validation loss", ".3~g"),
    ):
        values = [
            {"setting": name, "run": f"{name} {number}", "epoch": epoch, "value": value}
            for name, setting in shown
            for number, history in enumerate(setting.histories, 1)
            for epoch, value in history.get(metric, {}).items()
            if value == value  # no NaN, which JSON does not have
        ]
        if not values:
            continue
        legend = alt.Legend(title=None, columns=2) if not panels else None
        panels.append(
            alt.Chart(rows(values))
            .mark_line(point=alt.OverlayMarkDef(size=18))
            .encode(
                x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1, format="d")),
                y=alt.Y(
                    "value:Q",
                    title=title,
                    scale=alt.Scale(zero=False),
                    axis=alt.Axis(format=form, tickCount=5, minExtent=46, maxExtent=46),
                ),
                color=alt.Color("setting:N", sort=None, legend=legend, scale=alt.Scale(domain=[n for n, _ in shown])),
                detail="run:N",
                tooltip=["run:N", "epoch:Q", alt.Tooltip("value:Q", title=title, format=".4f")],
            )
            .properties(height=220)
        )
    best = f" The {MAX_CURVES} best of {len(settings)} settings." if len(settings) > MAX_CURVES else ""
    described = f"Accuracy and loss on validation, epoch by epoch.{best}"
    return Drawing("curves", "Learning curves", described, panels)

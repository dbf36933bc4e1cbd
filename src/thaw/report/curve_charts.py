"""Learning curves: loss, accuracy and learning rate over the epochs of all stages."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import altair as alt

from thaw.report.content import BestEpoch
from thaw.report.drawing import ZOOM_HINT, Drawing, chart_names, layered, rows, zoom

_POINTS_UP_TO = 60  # epochs; more points than that hide the line
_KINDS = ["training", "validation"]
_EPOCH_TICKS = 15
_LINE_HEIGHT = 15  # pixels, of the texts at the top of the first panel


def learning_curves(history: Sequence[Mapping[str, Any]], best_epochs: Sequence[BestEpoch]) -> Drawing | None:
    """Draw the history, an entry an epoch as `FitResult` has them, epochs counted on over the stages.

    Returns None without epochs. A value that is missing, or not finite, is a gap.
    """
    if not history:
        return None
    epochs = _Epochs(history, best_epochs)
    panels = [epochs.panel("loss"), epochs.panel("accuracy"), epochs.rate_panel()]
    names = " and ".join(stage["name"] for stage in epochs.stages)
    description = (
        f"Loss, accuracy and learning rate over {len(history)} epochs ({names}), on training and validation images."
    )
    if best_epochs:
        description += " A dashed line marks a stage's lowest validation loss."
    return Drawing("curves", "Learning curves", description, panels, table="figures.json", hint=ZOOM_HINT)


@dataclass(frozen=True)
class _Epochs:
    """What the panels share: the epochs, and the marks at them."""

    history: Sequence[Mapping[str, Any]]
    best_epochs: Sequence[BestEpoch]

    @cached_property
    def stages(self) -> list[dict[str, Any]]:
        """Name, start, end and middle of each stage."""
        groups = [(stage, [e["epoch"] for e in of]) for stage, of in groupby(self.history, key=lambda e: e["stage"])]
        names = chart_names(str(stage) for stage, _ in groups)
        return [
            {"name": name, "start": min(of) - 0.5, "end": max(of) + 0.5, "middle": (min(of) + max(of)) / 2}
            for name, (_, of) in zip(names, groups, strict=True)
        ]

    def panel(self, quantity: str) -> alt.LayerChart:
        """Draw loss or accuracy, of training and validation."""
        loss = quantity == "loss"
        data = rows(
            {"epoch": entry["epoch"], "stage": entry["stage"], "kind": kind, "value": entry[key]}
            for kind, key in zip(_KINDS, (quantity, f"val_{quantity}"), strict=True)
            for entry in self.history
            if entry.get(key) is not None
        )
        axis = _axis(format=".3~r" if loss else ".0%")
        lines = (
            alt.Chart(data)
            .mark_line(point=self._point(), clip=True)
            .encode(
                x=self._x("epoch"),
                y=alt.Y("value:Q", title=quantity, scale=alt.Scale(zero=False), axis=axis),
                color=alt.Color("kind:N", scale=alt.Scale(domain=_KINDS), legend=alt.Legend(title=None)),
                detail="stage:N",  # a stage begins anew, with other layers and another rate
            )
        )
        texts = self._texts() if loss else []
        return layered(*self._ground(), lines, *texts, self._hover(quantity), height=200)

    def rate_panel(self) -> alt.LayerChart:
        """Draw the learning rate, on a logarithmic axis."""
        entries = [entry for entry in self.history if (entry.get("learning_rate") or 0) > 0]  # a logarithm has no zero
        rates = [float(entry["learning_rate"]) for entry in entries] or [1e-3]
        tens = [10.0**i for i in range(math.floor(math.log10(min(rates))), math.ceil(math.log10(max(rates))) + 1)]
        scale = alt.Scale(type="log", domain=[min(rates) / 1.6, max(rates) * 1.6], nice=False)
        ticks = [ten for ten in tens if min(rates) / 1.6 <= ten <= max(rates) * 1.6]
        axis = _axis(format=".1~e", values=ticks if len(ticks) > 1 else sorted({min(rates), max(rates)}))
        line = (
            alt.Chart(rows({"epoch": e["epoch"], "stage": e["stage"], "value": e["learning_rate"]} for e in entries))
            .mark_line(interpolate="step", point=self._point("#888888"), color="#888888", clip=True)
            .encode(
                x=self._x("epoch", lowest=True),
                y=alt.Y("value:Q", title="learning rate", scale=scale, axis=axis),
                detail="stage:N",
            )
        )
        return layered(*self._ground(lowest=True), line, self._hover("learning_rate", lowest=True), height=90)

    def _x(self, column: str, lowest: bool = False) -> alt.X:
        """The epochs. All layers name the same scale, or their columns would widen it; the lowest panel has labels."""
        scale = alt.Scale(domain=[self.stages[0]["start"], self.stages[-1]["end"]], nice=False, zero=False)
        first, last = (self.stages[i][end] for i, end in ((0, "start"), (-1, "end")))
        step = max(1, round((last - first) / _EPOCH_TICKS))  # Vega's own ticks stand at half epochs too
        epochs = list(range(math.ceil(first), math.floor(last) + 1))
        axis = alt.Axis(format="d", values=epochs[step - 1 :: step], grid=False, labels=lowest)
        return alt.X(f"{column}:Q", title="epoch" if lowest else None, scale=scale, axis=axis)

    def _point(self, colour: str | None = None) -> Any:
        if len(self.history) > _POINTS_UP_TO:
            return False
        return {"size": 22, "filled": True} | ({"color": colour} if colour else {})

    def _ground(self, lowest: bool = False) -> list[alt.Chart]:
        """Every second stage on a shade of its own, and a line at each best epoch."""
        shades = alt.Chart(rows(self.stages[1::2])).mark_rect(color="#888888", opacity=0.13, clip=True)
        best = rows({"epoch": best.epoch} for best in self.best_epochs)
        return [
            shades.encode(x=self._x("start", lowest), x2="end").add_params(zoom(["x"])),
            alt.Chart(best).mark_rule(strokeDash=[4, 4], clip=True).encode(x=self._x("epoch", lowest)),
        ]

    def _texts(self) -> list[alt.Chart]:
        """The names of the stages, and below them each best epoch, which stands at the side that has room."""
        names = alt.Chart(rows(self.stages)).mark_text(baseline="top", fontSize=13, clip=True)
        charts = [names.encode(x=self._x("middle"), y=alt.value(4), text="name:N")]
        middle = (self.stages[0]["start"] + self.stages[-1]["end"]) / 2
        for line, best in enumerate(self.best_epochs, start=1):
            label = {"epoch": best.epoch, "label": f"best: epoch {best.epoch}, loss {best.val_loss:.3f}"}
            left = best.epoch <= middle
            mark = alt.Chart(rows([label])).mark_text(
                align="left" if left else "right", dx=5 if left else -5, baseline="top", fontSize=11, clip=True
            )
            y = alt.value(6 + _LINE_HEIGHT * line)
            charts.append(mark.encode(x=self._x("epoch"), y=y, text="label:N"))
        return charts

    def _hover(self, quantity: str, lowest: bool = False) -> alt.Chart:
        """A strip an epoch, which tells its numbers wherever the pointer is in it."""
        hover = alt.selection_point(on="pointerover", clear="pointerout", fields=["epoch"], empty=False)
        data = rows(
            {"epoch": e["epoch"], "stage": e["stage"], "start": e["epoch"] - 0.5, "end": e["epoch"] + 0.5,
             "train": e.get(quantity), "val": e.get(f"val_{quantity}")}
            for e in self.history
        )  # fmt: skip
        form = ".1%" if quantity == "accuracy" else ".3~g"
        if quantity == "learning_rate":
            values = [alt.Tooltip("train:Q", title="learning rate", format=form)]
        else:
            values = [
                alt.Tooltip("train:Q", title=_KINDS[0], format=form), alt.Tooltip("val:Q", title=_KINDS[1], format=form)
            ]  # fmt: skip
        strips = alt.Chart(data).mark_rect(color="#888888", clip=True)
        return strips.encode(
            x=self._x("start", lowest),
            x2="end",
            tooltip=[alt.Tooltip("stage:N"), alt.Tooltip("epoch:Q"), *values],
            opacity=alt.condition(hover, alt.value(0.2), alt.value(0)),
        ).add_params(hover)


def _axis(**given: Any) -> alt.Axis:
    """A vertical axis; all have one width, so that the epochs of the panels stand below each other."""
    return alt.Axis(**given, minExtent=46, maxExtent=46)

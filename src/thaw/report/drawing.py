"""A drawing: one or more charts that belong together, as the page embeds them and as a PNG."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import altair as alt
import vl_convert
from altair.utils.schemapi import debug_mode

from thaw.common.console import printable
from thaw.report.chart_theme import chart_config

VEGA_LITE = "6.4"  # of the charts' schema, the bundle's JavaScript, and the PNGs
PNG_SCALE = 2.0  # pixels a unit of length: sharp on a slide

_OF_ALL_OBJECTS = {  # in JavaScript
    "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__", "__proto__", "constructor",
    "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf",
}  # fmt: skip

# What the mouse does on a chart that zooms. The wheel alone scrolls the page, and so does a finger.
_DRAG = "[pointerdown[event.pointerType === 'mouse'], window:pointerup] > window:pointermove!"
_WHEEL = "wheel![event.ctrlKey || event.metaKey]"
POINTER_LAYER = "pointer"  # name of a layer of invisible marks that tell their numbers: left out of the PNG
ZOOM_HINT = "Drag to move, Ctrl and wheel to zoom, double click to reset."


@dataclass(frozen=True, eq=False)
class Drawing:
    """Charts below each other, each as wide as the page, all as wide as `png_width` in the PNG.

    key: its anchor, and the name of its PNG. title: its heading, in words. description: what it shows, for those who
    do not see it; also its caption. panels: single or layered charts without a width. table: the file that has its
    numbers, "" without. hint: what the mouse does. max_width: in the page, in pixels; None as wide as the page. canvas:
    draw thousands of marks as pixels, not as elements of the page. side_by_side: small panels, which stand beside each
    other in the page where there is room.
    """

    key: str
    title: str
    description: str
    panels: Sequence[alt.Chart | alt.LayerChart]
    table: str = ""
    hint: str = ""
    max_width: int | None = None
    png_width: int = 640  # units of the plotting area
    canvas: bool = False
    side_by_side: bool = False

    @cached_property
    def specs(self) -> list[dict[str, Any]]:
        """The Vega-Lite specification of each panel, as wide as its container.

        The tests validate them against the schema; doing so for each of thousands of rows takes seconds.
        """
        specs = [{**panel.to_dict(validate=False), "width": "container"} for panel in self.panels]
        for spec in specs:
            spec.pop("config")  # Altair's own; `chart_config` takes its place
        return specs

    def png(self) -> bytes:
        """Draw all panels on white paper."""
        panels = [{**spec, "width": self.png_width} for spec in self.specs]
        datasets: dict[str, Any] = {}
        for panel in panels:
            if "layer" in panel:
                panel["layer"] = [_still(layer) for layer in panel["layer"] if layer.get("name") != POINTER_LAYER]
            datasets |= panel.pop("datasets", {})
            schema = panel.pop("$schema")
        spec = {
            "$schema": schema,
            "config": chart_config(still=True),
            "title": {"text": self.title, "fontSize": 16, "offset": 14},
            "padding": 16,
            "datasets": datasets,
            "vconcat": panels,
        }
        return vl_convert.vegalite_to_png(json.dumps(spec), vl_version=VEGA_LITE, scale=PNG_SCALE)


def rows(values: Iterable[Mapping[str, Any]]) -> alt.InlineData:
    """Return rows as a chart's data. Columns have names of ours; names of classes and files are values only.

    Numbers have six digits, which is more than a chart shows; NaN and infinity are null.
    """
    with debug_mode(False):  # on: Altair validates each row
        return alt.InlineData(values=[{key: _short(value) for key, value in row.items()} for row in values])


def label_angle(names: Sequence[str]) -> int:
    """Return the angle of names below a chart: long ones stand upright, as slanting they leave it to the left."""
    longest = max(map(len, names), default=0)
    return 0 if longest <= 3 else -45 if longest <= 12 else -90


def legend_columns(names: Sequence[str]) -> int:
    """Return how many names stand side by side in a legend that is as wide as a phone."""
    longest = max(map(len, names), default=0)
    return 3 if longest <= 9 else 2 if longest <= 16 else 1


def layered(*charts: alt.Chart, height: float) -> alt.LayerChart:
    """Return charts on top of each other, `height` pixels high."""
    return alt.LayerChart(layer=list(charts)).properties(height=height)


def chart_names(names: Iterable[str], longest: int = 32) -> list[str]:
    """Return names as a chart can draw them: on one line, with at most `longest` letters, and no two alike."""
    drawn: list[str] = []
    taken: set[str] = set()
    for name in names:
        plain = printable(name) or "(no name)"
        if plain in _OF_ALL_OBJECTS:
            plain += "\u200b"  # Vega groups lines in an object by their names, and would find what every object has
        shown = plain = plain if len(plain) <= longest else f"{plain[: longest - 1]}…"
        number = 2
        while shown in taken:
            shown, number = f"{plain} ({number})", number + 1
        taken.add(shown)
        drawn.append(shown)
    return drawn


def file_key(key: str) -> str:
    """Return a key as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", key)


def thinned(count: int, wanted: int) -> list[int]:
    """Return the indices of at most `wanted` of `count` points, evenly, the first and the last among them."""
    if count <= wanted:
        return list(range(count))
    return sorted({round(i * (count - 1) / (wanted - 1)) for i in range(wanted)})


def zoom(axes: Sequence[str] = ("x", "y")) -> alt.Parameter:
    """Return the selection that moves and zooms a chart along these axes."""
    encodings: Any = list(axes)
    return alt.selection_interval(bind="scales", encodings=encodings, translate=_DRAG, zoom=_WHEEL)


def _still(layer: dict[str, Any]) -> dict[str, Any]:
    """Return a layer without clipping, which takes most of the time: nothing leaves a chart that does not move."""
    return {**layer, "mark": {**layer["mark"], "clip": False}}


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value

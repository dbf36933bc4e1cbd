"""A drawing: one or more charts that belong together, as the page embeds them and as a PNG."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import altair as alt
import vl_convert

from thaw.common.console import printable
from thaw.report.chart_theme import PNG_FONT, chart_config

VEGA_LITE = "6.4"  # of the charts' schema, the bundle's JavaScript, and the PNGs
PNG_SCALE = 2.0  # pixels a unit of length: sharp on a slide


@dataclass(frozen=True, eq=False)
class Drawing:
    """Charts below each other, each as wide as the page, all as wide as `png_width` in the PNG.

    key: its anchor. title: its heading, in words. description: what it shows, for those who do not see it; also its
    caption. panels: single or layered charts without a width. table: the CSV that has its numbers, "" without.
    """

    key: str
    title: str
    description: str
    panels: Sequence[alt.Chart | alt.LayerChart]
    table: str = ""
    png_width: int = 640  # units of the plotting area

    @cached_property
    def specs(self) -> list[dict[str, Any]]:
        """The Vega-Lite specification of each panel, as wide as its container; validated against the schema."""
        specs = [{**panel.to_dict(), "width": "container"} for panel in self.panels]
        for spec in specs:
            spec.pop("config")  # Altair's own; `chart_config` takes its place
        return specs

    def png(self) -> bytes:
        """Draw all panels on white paper."""
        panels = [{**spec, "width": self.png_width} for spec in self.specs]
        shared = {"$schema": panels[0]["$schema"], "config": chart_config(font=PNG_FONT)}
        datasets: dict[str, Any] = {}
        for panel in panels:
            datasets |= panel.pop("datasets", {})
            panel.pop("$schema")
        spec = {**shared, "vconcat": panels, "datasets": datasets, "title": self.title, "padding": 16}
        return vl_convert.vegalite_to_png(json.dumps(spec), vl_version=VEGA_LITE, scale=PNG_SCALE)


def rows(values: Sequence[dict[str, Any]]) -> alt.InlineData:
    """Return rows as a chart's data. Columns have names of ours; names of classes and files are values only."""
    return alt.InlineData(values=list(values))


def chart_names(names: Sequence[str]) -> list[str]:
    """Return names as a chart can draw them: on one line, and no two alike."""
    drawn: list[str] = []
    taken: set[str] = set()
    for name in names:
        shown = plain = printable(name) or "(no name)"
        number = 2
        while shown in taken:
            shown, number = f"{plain} ({number})", number + 1
        taken.add(shown)
        drawn.append(shown)
    return drawn

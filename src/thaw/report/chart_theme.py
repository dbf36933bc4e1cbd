"""Colours and sizes of all charts, for light and dark paper: a Vega-Lite `config`, which no chart repeats."""

from typing import Any

# Okabe and Ito's colours, which colour-blind readers tell apart, lightened for dark paper (jfly.uni-koeln.de/color).
_LIGHT = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a6a00", "#5e3c99", "#737373", "#a6473b"]
_DARK = ["#5aa9e6", "#ff8f4d", "#2fc79b", "#e39ac3", "#f2bd4b", "#a5d8f7", "#d1c04a", "#b59be0", "#a8a8a8", "#e58a7d"]
# From poor to good: the more it matters, the more it stands out from its paper.
_LIGHT_RAMP, _DARK_RAMP = ["#d3d9e0", "#8fbfe6", "#0072b2", "#3b1f7a"], ["#3d444d", "#2f6f9f", "#5aa9e6", "#fbe38e"]
_FONT = "system-ui, sans-serif"
_PNG_FONT = "Liberation Sans, DejaVu Sans, Noto Sans, Arial, sans-serif"


def chart_config(dark: bool = False, still: bool = False) -> dict[str, Any]:
    """Return the `config` of a Vega-Lite specification. The page's colours are those of base.html.

    still: for a PNG, whose labels are as long as they are: to shorten one, its width is measured again and again.
    """
    paper, ink, soft, line = (
        ("#16181b", "#e6e8eb", "#9aa3ad", "#34393f") if dark else ("#ffffff", "#1c1e21", "#5d646d", "#d9dde2")
    )
    limit = 0 if still else 180  # pixels; 0: none
    colours = _DARK if dark else _LIGHT
    return {
        "background": paper,
        "aria": False,  # no words for each of thousands of marks: the chart as a whole has a description
        "font": _PNG_FONT if still else _FONT,
        "mark": {"color": colours[0]},
        "text": {"color": ink, "fontSize": 12},
        "rule": {"color": soft},
        "style": {
            "ink": {"color": ink, "fill": ink},
            "inkLine": {"color": ink, "stroke": ink},
            "halo": {"fill": paper, "stroke": paper, "strokeWidth": 4, "strokeJoin": "round"},  # below text on lines
        },
        "range": {"category": colours, "ramp": _DARK_RAMP if dark else _LIGHT_RAMP},
        "view": {"stroke": None},
        "axis": {
            "labelColor": soft, "titleColor": soft, "gridColor": line, "domainColor": line, "tickColor": line,
            "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "labelLimit": limit,
        },
        "legend": {
            "labelColor": ink, "titleColor": soft, "labelFontSize": 12, "titleFontSize": 12, "symbolOpacity": 1,
            "titleFontWeight": "normal", "labelLimit": limit, "orient": "top",
        },
        "title": {"color": ink, "fontSize": 13, "fontWeight": "normal", "anchor": "start", "subtitleColor": soft},
        "header": {"labelColor": ink, "titleColor": soft, "labelFontSize": 12},
    }  # fmt: skip

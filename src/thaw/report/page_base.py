"""What pages with charts share: base.html, the charting library, and a policy that lets nothing else run."""

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

import vl_convert
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from thaw.common.console import format_bytes, printable
from thaw.report.chart_theme import chart_config
from thaw.report.drawing import VEGA_LITE, Drawing


def render_page(template: str, package: str = "thaw.report", **values: Any) -> str:
    """Return a page, as text that UTF-8 can encode.

    template: a file of `package` that extends base.html: its blocks are `contents` (the links of the navigation) and
    `main`. values: what it shows, with `title` and `subtitle` for the heading. In it, `chart(drawing)` draws, `name(x)`
    writes the name of a class or a file, `percent(x)` and `decimal(x)` write numbers, `picture(jpeg)` is an address.
    """
    text = environment(package).get_template(template).render(**values)
    return text.encode("utf-8", "backslashreplace").decode()  # names of files need not be UTF-8


def environment(package: str = "thaw.report") -> Environment:
    """Return the templates of a package and those of this one; what they show is escaped."""
    loader = ChoiceLoader([PackageLoader(package, ""), PackageLoader("thaw.report", "")])
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.globals |= {
        "chart": chart,
        "script": page_script,
        "policy": content_security_policy,
        "themes": lambda: json_for_page({"light": chart_config(), "dark": chart_config(dark=True)}),
        "name": printable,
        "percent": percent,
        "decimal": decimal,
        "picture": picture,
        "size": format_bytes,
    }
    return made


def chart(drawing: Drawing) -> Markup:
    """Return the place of a drawing, with what it shows in words; charts.js draws it there."""
    boxes = [
        Markup(
            '<div class="chart" role="img" aria-label="{}"{}{}><script type="application/json">{}</script></div>'
        ).format(
            drawing.description, _room(spec), Markup(" data-canvas") if drawing.canvas else "", json_for_page(spec)
        )
        for spec in drawing.specs
    ]
    hint = Markup(' <span class="hint">{}</span>').format(drawing.hint) if drawing.hint else ""
    table = Markup(' Numbers: <a href="{0}">{0}</a>.').format(drawing.table) if drawing.table else ""
    width = Markup(' style="max-width:{}px"').format(drawing.max_width) if drawing.max_width else ""
    panels = Markup(' class="panels"') if drawing.side_by_side else ""
    return Markup('<figure id="chart-{}"{}{}>{}<figcaption>{}{}{}</figcaption></figure>').format(
        drawing.key, panels, width, Markup("\n").join(boxes), drawing.description, hint, table
    )


def json_for_page(value: Any) -> Markup:
    """Return JSON that stands in a script element: no text in it ends that element or begins another."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


@cache
def page_script(name: str) -> Markup:
    """Return the JavaScript `vega` (Vega, Vega-Lite and vega-embed whole, 0.9 MB) or `charts`, which calls it."""
    if name == "vega":
        text = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    else:
        text = files("thaw.report").joinpath("charts.js").read_text(encoding="utf-8")
    if "</script" in text.lower() or "<!--" in text:
        raise ValueError(f"the JavaScript {name} cannot stand in a page: it holds the end of a script element")
    return Markup(text)


@cache
def content_security_policy() -> str:
    """Return the page's policy: only the two scripts by their hashes run, and nothing is fetched or evaluated."""
    hashes = [
        base64.b64encode(hashlib.sha256(page_script(name).encode()).digest()).decode() for name in ("vega", "charts")
    ]
    scripts = " ".join(f"'sha256-{value}'" for value in hashes)
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {scripts}"


def percent(share: float | None, digits: int = 1) -> str:
    """Return `91.3 %`, with a space at which no line ends, or a dash for None."""
    return "–" if share is None else f"{100 * share:.{digits}f}\u00a0%"


def decimal(number: float | None, digits: int = 3) -> str:
    """Return `0.913`, or a dash for None."""
    return "–" if number is None or number != number else f"{number:.{digits}f}"


def picture(jpeg: bytes) -> str:
    """Return a JPEG as an address that a page can hold."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def _room(spec: dict[str, Any]) -> Markup:
    """Keep room for a chart that is not drawn yet, so that the page does not jump."""
    height = spec.get("height")
    return (
        Markup(' style="min-height:{}px"').format(int(height) + 60) if isinstance(height, int | float) else Markup("")
    )

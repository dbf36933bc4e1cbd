"""The page on which a person drops a picture: one file, without anything from elsewhere."""

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from thaw.common.console import printable


def start_page(model: str, image_size: int, heat: bool) -> str:
    """Return the page for a network; heat: whether there are heat maps of it."""
    loader = ChoiceLoader([PackageLoader("thaw.serve", ""), PackageLoader("thaw.report", "")])
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = made.get_template("start_page.html")
    text = page.render(model=printable(model), image_size=image_size, heat=heat, script=Markup(_script()))
    return text.encode("utf-8", "backslashreplace").decode()


@cache
def page_policy() -> str:
    """Return the page's policy: its one script runs, and it talks to this server only."""
    digest = base64.b64encode(hashlib.sha256(_script().encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@cache
def _script() -> str:
    return files("thaw.serve").joinpath("start_page.js").read_text(encoding="utf-8")

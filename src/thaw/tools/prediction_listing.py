"""The most probable classes of images as a table, CSV or JSON."""

import json
from collections.abc import Mapping, Sequence

from rich.table import Table

from thaw.common.console import printable
from thaw.common.csv_text import spreadsheet_text
from thaw.serve.answer import Answer

Predictions = Mapping[str, Sequence[Answer]]  # by file, most probable class first


def listing_table(predictions: Predictions) -> Table:
    """Return the predictions as a table for the terminal."""
    listing = Table()
    for column, justify in (("image", "left"), ("class", "left"), ("probability", "right")):
        listing.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for file, best in predictions.items():
        for i, answer in enumerate(best):
            name, probability = printable(answer["class"]), f"{answer['probability']:.7f}"
            listing.add_row(printable(file) if i == 0 else "", name, probability, end_section=i == len(best) - 1)
    return listing


def listing_text(predictions: Predictions, form: str) -> str:
    """Return the predictions as text; form: json, or else CSV."""
    if form == "json":
        entries = [{"image": file, "predictions": best} for file, best in predictions.items()]
        return json.dumps(entries, indent=1, ensure_ascii=False) + "\n"
    rows = (
        (file, i + 1, answer["class"], answer["probability"])
        for file, best in predictions.items()
        for i, answer in enumerate(best)
    )
    return spreadsheet_text(("image", "rank", "class", "probability"), rows)


def encode_listing(listing: str, form: str) -> bytes:
    """Return a listing in UTF-8. A file's name that is not UTF-8 keeps its bytes, in JSON as escapes.

    Python's json reads these back as the name that opens the file.
    """
    return listing.encode("utf-8", "backslashreplace" if form == "json" else "surrogateescape")

"""The most probable classes of images as a table, CSV or JSON."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from rich.table import Table

from thaw.common.console import printable
from thaw.common.csv_text import spreadsheet_text

Prediction = tuple[str, float]  # class name, probability
Predictions = Mapping[str, Sequence[Prediction]]  # by file, most probable class first


def top_classes(probabilities: npt.NDArray[np.float32], class_names: Sequence[str], top: int) -> list[Prediction]:
    """Return the `top` most probable classes of one image, from its probabilities, float32 (C,)."""
    best = np.argsort(-probabilities, kind="stable")[:top]
    return [(class_names[i], float(probabilities[i])) for i in best]


def listing_table(predictions: Predictions) -> Table:
    """Return the predictions as a table for the terminal."""
    listing = Table()
    for column, justify in (("image", "left"), ("class", "left"), ("probability", "right")):
        listing.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for file, best in predictions.items():
        for i, (name, probability) in enumerate(best):
            listing.add_row(
                printable(file) if i == 0 else "", printable(name), f"{probability:.7f}", end_section=i == len(best) - 1
            )
    return listing


def listing_text(predictions: Predictions, form: str) -> str:
    """Return the predictions as text; form: json, or else CSV."""
    if form == "json":
        entries = [
            {"image": file, "predictions": [{"class": name, "probability": p} for name, p in best]}
            for file, best in predictions.items()
        ]
        return json.dumps(entries, indent=1, ensure_ascii=False) + "\n"
    rows = ((file, i + 1, name, p) for file, best in predictions.items() for i, (name, p) in enumerate(best))
    return spreadsheet_text(("image", "rank", "class", "probability"), rows)


def encode_listing(listing: str, form: str) -> bytes:
    """Return a listing in UTF-8. A file's name that is not UTF-8 keeps its bytes, in JSON as escapes.

    Python's json reads these back as the name that opens the file.
    """
    return listing.encode("utf-8", "backslashreplace" if form == "json" else "surrogateescape")

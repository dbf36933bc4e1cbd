"""The most probable classes of images as a table, CSV, JSON or a line of JSON an image, written as they come."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.table import Table

from thaw.common.console import printable
from thaw.common.csv_text import spreadsheet_lines
from thaw.serve.answer import Answer, top_answers

UNKNOWN = "unknown"  # the label of an image whose best class is too improbable
SUFFIXES = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".parquet": "parquet"}


@dataclass(frozen=True)
class ListedImage:
    """An image and its most probable classes, most probable first.

    label: the class that it is taken for; of a rejected image UNKNOWN, which may be a class's name too.
    """

    file: str
    best: Sequence[Answer]
    label: str
    rejected: bool = False


def list_image(
    file: str, probabilities: npt.NDArray[np.float32], class_names: Sequence[str], top: int, reject_below: float | None
) -> ListedImage:
    """Return an image's row or rows, from its probabilities, float32 (C,); see `reject_below=`."""
    best = top_answers(probabilities, class_names, top)
    rejected = reject_below is not None and best[0]["probability"] < reject_below
    return ListedImage(file, best, UNKNOWN if rejected else best[0]["class"], rejected)


def form_of(form: str, output: str | None) -> str:
    """Return the form of a listing: as `format=` says, else by the end of the file's name, which may be any for CSV."""
    if output is None or form != "table":
        return form
    return SUFFIXES.get(Path(output).suffix.lower(), "csv")


@dataclass(frozen=True)
class ListingText:
    """A listing as text in UTF-8. A file's name that is not UTF-8 keeps its bytes, in JSON as escapes.

    Python's json reads these back as the name that opens the file.

    Attributes:
        form: csv, json, or jsonl, which is a line of JSON an image.
        labelled: whether each image's label is written, and whether it was rejected.
    """

    form: str
    labelled: bool = False

    def head(self) -> bytes:
        """Return what comes before the first image."""
        if self.form == "csv":
            columns = ("image", "rank", "class", "probability")
            return spreadsheet_lines([columns + ("label", "rejected") * self.labelled]).encode()
        return b"[" if self.form == "json" else b""

    def rows(self, images: Sequence[ListedImage], before: int) -> bytes:
        """Return the rows of images. before: how many images were written before these."""
        if self.form == "csv":
            lines = spreadsheet_lines(
                (image.file, i + 1, answer["class"], answer["probability"], *self._label(image).values())
                for image in images
                for i, answer in enumerate(image.best)
            )
            return lines.encode("utf-8", "surrogateescape")
        if self.form == "jsonl":
            text = "".join(f"{json.dumps(self._entry(image), ensure_ascii=False)}\n" for image in images)
        else:  # as json.dumps writes a whole list with indent=1
            entries = (json.dumps(self._entry(image), ensure_ascii=False, indent=1) for image in images)
            indented = (entry.replace("\n", "\n ") for entry in entries)
            text = "".join(f"{',' if before + i else ''}\n {entry}" for i, entry in enumerate(indented))
        return text.encode("utf-8", "backslashreplace")

    def tail(self, images: int) -> bytes:
        """Return what comes behind the last of so many images."""
        if self.form != "json":
            return b""
        return b"\n]\n" if images else b"]\n"

    def _entry(self, image: ListedImage) -> dict[str, object]:
        return {"image": image.file, "predictions": image.best, **self._label(image)}

    def _label(self, image: ListedImage) -> dict[str, object]:
        if not self.labelled:
            return {}
        rejected = image.rejected if self.form != "csv" else str(image.rejected).lower()
        return {"label": image.label, "rejected": rejected}


def listing_table(images: Sequence[ListedImage], labelled: bool = False) -> Table:
    """Return the predictions as a table for the terminal."""
    listing = Table()
    columns = [("image", "left"), ("class", "left"), ("probability", "right"), *[("label", "left")] * labelled]
    for column, justify in columns:
        listing.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for image in images:
        for i, answer in enumerate(image.best):
            first = (printable(image.file), printable(image.label)) if i == 0 else ("", "")
            row = (first[0], printable(answer["class"]), f"{answer['probability']:.7f}", *first[1:] * labelled)
            listing.add_row(*row, end_section=i == len(image.best) - 1)
    return listing

"""Predictions that are printed as they come, or written to a pipe."""

import sys
from collections.abc import Sequence
from typing import BinaryIO

from thaw.common.console import print_table
from thaw.data.file_bytes import BadImageError
from thaw.tools.partial_listing import ListingState
from thaw.tools.prediction_listing import ListedImage, ListingText, listing_table

TABLE_IMAGES = 500  # of one table: its columns are as wide as its longest cells, so its rows are held


class PrintedListing:
    """A listing on standard output or another stream; what `PartialListing` does for a file, without continuing.

    Attributes:
        state: how far it goes.
    """

    def __init__(self, form: str, *, labelled: bool = False, stream: BinaryIO | None = None) -> None:
        self._table, self._labelled = form == "table", labelled
        self._text, self._stream = ListingText(form, labelled), stream or sys.stdout.buffer
        self._held: list[ListedImage] = []
        self.state = ListingState()

    def __enter__(self) -> "PrintedListing":
        """Write what comes before the first image."""
        if not self._table:
            sys.stdout.flush()
            self._stream.write(self._text.head())
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.flush()

    def add(self, images: Sequence[ListedImage]) -> None:
        """Print the rows of images; of a table once it is full."""
        if self._table:
            self._held += images
            if len(self._held) >= TABLE_IMAGES:
                self._print_table()
        else:
            self._stream.write(self._text.rows(images, self.state.images))
        self.state.count(images)

    def add_bad(self, errors: Sequence[BadImageError]) -> None:
        """Count files that cannot be read."""
        self.state.count_bad(errors)

    def commit(self, files: int) -> None:
        """Count the next `files` files as done."""
        self.state.done += files
        self._stream.flush()

    def finish(self) -> None:
        """Print the rest."""
        if not self._table:
            self._stream.write(self._text.tail(self.state.images))
        elif self._held or not self.state.images:
            self._print_table()

    def _print_table(self) -> None:
        print_table(listing_table(self._held, self._labelled))
        self._held = []

"""What a run was trained on, image by image, and one hash over all of it."""

import csv
import hashlib
import io
from collections.abc import Iterator

from thaw.data.pixels import Pixels
from thaw.data.splits import Splits

COLUMNS = ("path", "sha256", "width", "height", "label", "split")


def rows(pixels: Pixels, splits: Splits) -> Iterator[tuple[str, str, int, int, str, str]]:
    """Yield a row of `COLUMNS` for every image that is used, in the catalog's order.

    `path` is relative to the dataset's folder, `sha256` of the file's bytes, width and height those of the upright
    picture as it is stored, in pixels, `label` the class's name and `split` train, val or test.
    """
    catalog = pixels.catalog
    split_of = {int(index): name for name, indices in splits.named().items() for index in indices}
    for row, index in enumerate(pixels.indices.tolist()):
        if index in split_of:
            label = catalog.class_names[catalog.labels[index]]
            size = int(pixels.widths[row]), int(pixels.heights[row])
            yield catalog.names[index], pixels.sha256[row], *size, label, split_of[index]


def text(pixels: Pixels, splits: Splits) -> str:
    """Return the manifest as CSV; write it with `encoding="utf-8", errors="surrogateescape"`.

    Names of files are bytes and need not be UTF-8: written so, they come out as they are on the disk.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows(pixels, splits))
    return out.getvalue()


def data_sha256(pixels: Pixels, splits: Splits) -> str:
    """Return one hash of the data: every used image's name, hash, class name and split.

    The same data in another folder, on another disk or listed in another order hashes the same.
    """
    digest = hashlib.sha256()
    for name, sha256, _, _, label, split in sorted(rows(pixels, splits)):
        digest.update("\0".join((name, sha256, label, split, "")).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()

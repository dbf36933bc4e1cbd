"""A listing of predictions as a Parquet file: a row for each image and rank, as in CSV."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from thaw.common.console import progress
from thaw.common.files import open_atomic

GROUP_IMAGES = 10_000  # of a row group, at most


def write_parquet_listing(source: Path, images: int, file: Path, *, labelled: bool) -> None:
    r"""Write `image`, `rank`, `class` and `probability` (float32), with `labelled` also `label` and `rejected`.

    Bytes of a name that are not UTF-8 become `\udcXX`. The file is whole or absent, and memory stays that of a row
    group.

    Args:
        source: lines of JSON, as `ListingText` writes them.
        images: how many lines there are.
        file: to write.
        labelled: as in `ListingText`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [("image", pa.string()), ("rank", pa.int32()), ("class", pa.string()), ("probability", pa.float32())]
    schema = pa.schema(columns + [("label", pa.string()), ("rejected", pa.bool_())] * labelled)
    with (
        source.open(encoding="utf-8", newline="\n") as lines,
        open_atomic(file) as sink,
        pq.ParquetWriter(sink, schema, compression="zstd") as writer,
        progress("writing Parquet", images) as bar,
    ):
        while group := list(islice(lines, GROUP_IMAGES)):
            rows = [row for line in group for row in _rows(json.loads(line))]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            bar.advance(len(group))


def _rows(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    image = entry["image"].encode("utf-8", "backslashreplace").decode()
    for rank, prediction in enumerate(entry["predictions"], 1):
        yield {**entry, "image": image, "rank": rank, **prediction}

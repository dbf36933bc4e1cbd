"""Features as a Parquet file: a row an image, written in row groups so that memory stays small."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from thaw.common.console import progress
from thaw.common.files import open_atomic

GROUP_BYTES = 32_000_000  # of a row group, at most, unless one row has more
_MAX_GROUP_ROWS = 10_000


def write_parquet(source: Path, names: Sequence[str], file: Path, metadata: dict[str, str]) -> None:
    r"""Write `image`, a text, and `feature`, a fixed-size list of float32, for every row; the file is whole or absent.

    A map is one list in C order; its shape is in the metadata. Bytes of a name that are not UTF-8 become `\udcXX`.

    Args:
        source: a .npy file of N rows, float32. It is read, not mapped: mapped pages count as the process's memory.
        names: N files.
        file: to write.
        metadata: texts about the features, of which a reader gets bytes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with source.open("rb") as rows:
        np.lib.format.read_magic(rows)
        shape, *_ = np.lib.format.read_array_header_1_0(rows)
        size = int(np.prod(shape[1:]))
        step = int(np.clip(GROUP_BYTES // (4 * size), 1, _MAX_GROUP_ROWS))
        columns = [pa.field("image", pa.string()), pa.field("feature", pa.list_(pa.float32(), size))]
        schema = pa.schema(columns, metadata=metadata)
        # Features have few values twice, so a dictionary of them is none; zeros behind a ReLU compress well.
        options = {"use_dictionary": False, "compression": "zstd"}
        with (
            open_atomic(file) as sink,
            pq.ParquetWriter(sink, schema, **options) as writer,
            progress("writing Parquet", len(names)) as bar,
        ):
            for start in range(0, len(names), step):
                group = [name.encode("utf-8", "backslashreplace").decode() for name in names[start : start + step]]
                values = np.fromfile(rows, "<f4", len(group) * size)
                lists = pa.FixedSizeListArray.from_arrays(pa.array(values), type=schema.field("feature").type)
                writer.write_table(pa.table([pa.array(group, pa.string()), lists], schema=schema))
                bar.advance(len(group))

"""Features as Parquet."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from thaw.tools import parquet_features
from thaw.tools.parquet_features import write_parquet


@pytest.mark.parametrize("shape", [(5,), (2, 2, 3)])
def test_features_are_read_back_as_they_were_with_their_images(
    shape: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = np.random.default_rng(0).normal(size=(7, *shape)).astype(np.float32)
    features[0].flat[:2] = (np.nan, -0.0)
    np.save(tmp_path / "rows.npy", features)
    monkeypatch.setattr(parquet_features, "GROUP_BYTES", 3 * features[0].nbytes)
    names = [f"{i}.jpg" for i in range(5)] + ['=1+1\n,".jpg', "caf\udce9.jpg"]
    write_parquet(
        tmp_path / "rows.npy", names, tmp_path / "a.parquet", {"layer": "mixed5", "shape": "x".join(map(str, shape))}
    )
    file = pq.ParquetFile(tmp_path / "a.parquet")
    assert file.metadata.num_row_groups == 3
    table = file.read()
    size = int(np.prod(shape))
    assert table.schema.field("feature").type == pa.list_(pa.float32(), size)
    assert table.column("image").to_pylist() == [*names[:6], r"caf\udce9.jpg"]
    read = np.stack(table.column("feature").to_numpy()).reshape(-1, *shape)
    assert read.tobytes() == features.tobytes()
    assert table.schema.metadata[b"shape"].decode() == "x".join(map(str, shape))
    assert [f.name for f in sorted(tmp_path.iterdir())] == ["a.parquet", "rows.npy"]

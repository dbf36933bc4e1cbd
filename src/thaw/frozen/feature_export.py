"""Export of features to .npy files for other programs, as `recipe=bottleneck` does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.cache import DiskCache
from thaw.common.console import progress
from thaw.data.image_batches import AugmentedView, view_reader
from thaw.data.pixels import Pixels
from thaw.frozen.activation_rows import BATCH_SIZE
from thaw.frozen.activations import FrozenPart
from thaw.frozen.batch_runner import prefetch


def export_features(
    frozen: FrozenPart,
    store: DiskCache | None,
    pixels: Pixels,
    indices: npt.NDArray[np.int64],
    view: AugmentedView | None,
    stem: Path,
) -> None:
    """Write the tensors at a cut as `STEM-I.npy`, float32 (N, ...), and the catalog indices as `STEM-indices.npy`.

    They come from `store`; with None the engine computes them again, as for features that did not fit the cache.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    np.save(f"{stem}-indices.npy", indices)
    files = [
        np.lib.format.open_memmap(f"{stem}-{i}.npy", mode="w+", dtype=np.float32, shape=(len(indices), *shape))
        for i, shape in enumerate(frozen.cut.shapes)
    ]
    if store is None:
        function, read = frozen.inference_function(), view_reader(pixels, view)
        take: Callable[..., Any] = lambda group: function(read(group))  # noqa: E731
    else:
        take = frozen.cached_activations(store, pixels, indices, view).take
    starts = range(0, len(indices), BATCH_SIZE)
    with progress(stem.name, len(indices)) as steps:
        for start, tensors in zip(starts, prefetch((indices[i : i + BATCH_SIZE] for i in starts), take), strict=True):
            for file, tensor in zip(files, tensors, strict=True):
                file[start : start + BATCH_SIZE] = tensor
            steps.advance(len(tensors[0]))

"""The data set `digits`: scikit-learn's 1,797 handwritten digits of 8x8 pixels, to try things without a download."""

import numpy as np

from thaw.common.errors import UserError
from thaw.config.schema import DatasetConfig
from thaw.data.catalog import UNASSIGNED, Catalog


def load_catalog(dataset: DatasetConfig, min_classes: int = 2) -> Catalog:
    """Return the digits as uint8 (1797, 8, 8, 3), 0-255, none assigned to a split; they have ten classes."""
    from sklearn.datasets import load_digits  # takes a second to import

    if dataset.path is not None:
        raise UserError(
            f"dataset=digits comes with scikit-learn and takes no dataset.path, got {dataset.path}. "
            "For pictures of your own use dataset=image_folder"
        )
    data = load_digits()
    grey = np.rint(data.images * (255 / 16)).astype(np.uint8)  # 0-16 ink levels -> 0-255
    return Catalog(
        names=tuple(f"digits/{i:04d}" for i in range(len(grey))),
        paths=None,
        arrays=np.repeat(grey[..., None], 3, axis=-1),
        labels=data.target.astype(np.int32),
        class_names=tuple(str(digit) for digit in range(10)),
        assigned_splits=np.full(len(grey), UNASSIGNED, np.int8),
    )

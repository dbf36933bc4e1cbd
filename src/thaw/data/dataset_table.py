"""The table of datasets: each name with the function that lists its images."""

from collections.abc import Callable

from thaw.common.errors import UserError, did_you_mean, joined
from thaw.config.schema import DatasetConfig
from thaw.data import cifar10, csv_table, digits, image_folder
from thaw.data.catalog import Catalog

SOURCES: dict[str, Callable[[DatasetConfig, int], Catalog]] = {
    "cifar10": cifar10.load_catalog,
    "csv": csv_table.load_catalog,
    "digits": digits.load_catalog,
    "image_folder": image_folder.load_catalog,
}


def load_named_catalog(dataset: DatasetConfig, min_classes: int = 2) -> Catalog:
    """List the images of `dataset.name`; files are only listed, while cifar10 and digits are read into arrays.

    min_classes: that the data set must have: two to learn from, one to evaluate a network on.

    Raises:
        UserError: The dataset is unknown, missing, or not laid out as it should be.
    """
    if dataset.name not in SOURCES:
        raise UserError(
            f"dataset.name={dataset.name} is not a dataset.{did_you_mean(dataset.name, SOURCES)} "
            f"There are: {joined(SOURCES)}"
        )
    return SOURCES[dataset.name](dataset, min_classes)

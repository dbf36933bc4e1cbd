"""Reads a run's `predictions.csv`: what its network said of every test image."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thaw.common.console import printable
from thaw.common.csv_text import without_formula
from thaw.common.errors import UserError, joined

COLUMNS = ("image", "label", "predicted", "confidence", "probability_of_label")


@dataclass(frozen=True, eq=False)
class PredictionsTable:
    """The rows of a predictions.csv, N of them.

    images: names as `written_name` gives them. labels, predicted: int32 (N,), indices of class names. confidence: of
    the predicted class, probability_of_label: of the true one; float64 (N,), seven decimals.
    """

    images: Sequence[str]
    labels: npt.NDArray[np.int32]
    predicted: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float64]
    probability_of_label: npt.NDArray[np.float64]

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Which images got their own class, (N,)."""
        return self.labels == self.predicted


def written_name(name: str) -> str:
    r"""Return a name as predictions.csv has it: no formula for a spreadsheet, and bytes that are not UTF-8 as `\udce9`.

    The names of a manifest are matched with those of the table by this, as the way back is not unique.
    """
    return str(without_formula(name)).encode("utf-8", "backslashreplace").decode()


def read_predictions(file: Path, class_names: Sequence[str]) -> PredictionsTable:
    """Read a run's predictions.csv; class_names: the run's.

    Raises:
        UserError: The file has other columns, or names a class that the run does not have.
    """
    index = {written_name(name): i for i, name in enumerate(class_names)}
    with file.open(encoding="utf-8", newline="") as lines:
        table = csv.DictReader(lines)
        missing = [column for column in COLUMNS if column not in (table.fieldnames or ())]
        if missing:
            raise UserError(f"{file} is no table of a run's predictions: it has no column {joined(missing)}")
        rows = list(table)
    try:
        return PredictionsTable(
            [row["image"] for row in rows],
            np.array([index[row["label"]] for row in rows], np.int32),
            np.array([index[row["predicted"]] for row in rows], np.int32),
            np.array([float(row["confidence"]) for row in rows]),
            np.array([float(row["probability_of_label"]) for row in rows]),
        )
    except KeyError as error:
        raise UserError(f"{file} has the class {printable(str(error.args[0]))}, which its run does not have") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {printable(str(error))}") from error

import os
import subprocess
import sys
from pathlib import Path

import pytest

import thaw
from thaw.common.errors import UserError
from thaw.config.schema import DatasetConfig
from thaw.data import dataset_table


def test_every_dataset_of_the_schema_has_a_source():
    choices = DatasetConfig.__dataclass_fields__["name"].metadata["choices"]
    assert set(dataset_table.SOURCES) == set(choices)


def test_a_misspelt_dataset_is_told_the_right_name():
    with pytest.raises(UserError, match="Did you mean 'image_folder'"):
        dataset_table.load_named_catalog(DatasetConfig(name="image_folders"))


def test_the_data_room_does_not_import_tensorflow():
    code = (
        "import sys, thaw.data.dataset_table, thaw.data.image_batches, thaw.data.manifest;"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'mlflow', 'hydra')))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(thaw.__file__).parents[1])}  # installed or not
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0

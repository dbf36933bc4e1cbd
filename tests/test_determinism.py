"""The same command gives the same numbers, whatever Python's hash seed, the order of files and Keras's own settings."""

import csv
import json
import os
import shutil
from pathlib import Path

import pytest

from .conftest import Commands, Ran

# All random choices take part: split, shuffle, sampling, augmentation, dropout, batch statistics, early stopping.
COMMAND = (
    "dataset=image_folder", "backbone=efficientnet_lite0", "backbone.image_size=64", "train.batch_size=8",
    "augment=light", "head.hidden=32", "head.dropout=0.3", "finetune.batchnorm=trainable",
    "finetune.freeze=block6c", "finetune.head_epochs=2", "finetune.epochs=3", "train.patience=1",
    "train.sampling=balanced", "tracking.log_model=false", "hydra.run.dir=${outputs}/run",
)  # fmt: skip


def listed(folder: Path) -> list[str]:
    """Names as the file system lists them, class folders and files."""
    return [entry.name for listed_folder in (folder, *sorted(folder.iterdir())) for entry in os.scandir(listed_folder)]


def copied(photos: Path, target: Path, backwards: bool) -> list[str]:
    """Copy the photos file by file, the last first if `backwards`; return the order in which they are listed then."""
    shutil.rmtree(target, ignore_errors=True)
    for file in sorted(photos.glob("*/*.jpg"), reverse=backwards):
        (target / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target / file.parent.name / file.name)
    return listed(target)


@pytest.fixture
def by_age(photos, tmp_path) -> Path:
    """A folder on a file system that lists files by age, as tmpfs does; ext4 lists by a hash of the names."""
    for parent in (tmp_path, Path("/dev/shm")):
        if parent.is_dir():
            target = parent / f"thaw-determinism-{os.getpid()}"
            if copied(photos, target, False) != copied(photos, target, True):
                yield target
                shutil.rmtree(target)
                return
            shutil.rmtree(target)
    pytest.skip("no file system here lists files by age")


# What another project may have left behind, all of which Keras would train by.
KERAS_JSON = {"floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first", "backend": "jax"}


def run(by_age: Path, folder: Path, hash_seed: int) -> Ran:
    folder.mkdir()
    commands = Commands(folder)
    if hash_seed == 2:
        (folder / "keras").mkdir()
        (folder / "keras" / "keras.json").write_text(json.dumps(KERAS_JSON))
    commands.env["PYTHONHASHSEED"] = str(hash_seed)
    ran = commands.run(*COMMAND, f"dataset.path={by_age}")
    assert ran.code == 0, ran.err
    return ran


@pytest.mark.slow
def test_the_same_numbers_with_another_hash_seed_order_of_files_and_keras_json(photos, by_age, tmp_path) -> None:
    orders, results, manifests, epochs = [], [], [], []
    for number, backwards in enumerate((False, True), start=1):
        orders.append(copied(photos, by_age, backwards))
        ran = run(by_age, tmp_path / str(number), hash_seed=number)
        results.append(ran.result())
        manifests.append(list(csv.reader((ran.folder / "outputs" / "run" / "manifest.csv").open())))
        epochs.append([line.split(" · lr")[0] for line in ran.out.splitlines() if " epoch " in line])
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])
    for key in ("weights_sha256", "data_sha256", "config_sha256", "metrics"):
        assert results[0][key] == results[1][key], key
    assert manifests[0] == manifests[1]
    assert len(manifests[0]) == 61
    assert epochs[0] == epochs[1]

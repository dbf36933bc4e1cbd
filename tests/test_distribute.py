"""distribute=mirrored from the command line, on two logical CPUs: no GPU was at hand."""

import signal
from pathlib import Path

import pytest

from .conftest import Commands, Ran

# 120 images to train on in batches of 32: the last one has 24.
SMALL = (
    "recipe=scratch", "dataset=digits", "dataset.limit_per_class=12", "train.batch_size=32", "optimizer=adam",
    "optimizer.learning_rate=3e-3", "precision=float32", "training_step=keras",
)  # fmt: skip
# Stage head on cached features, stage thaw on cached activations. Thawed layers run in inference mode, without the
# dropout for which each device draws numbers of its own.
FINETUNE = (
    "recipe=finetune", "dataset=digits", "dataset.limit_per_class=12", "train.batch_size=32", "backbone=cnn",
    "head=flatten_dense", "head.dropout=0", "optimizer=adam", "optimizer.learning_rate=1e-3", "precision=float32",
    "training_step=keras", "finetune.freeze=block1", "finetune.head_epochs=2", "finetune.epochs=4",
)  # fmt: skip


@pytest.fixture(scope="module")
def two_devices(tmp_path_factory) -> Commands:
    commands = Commands(tmp_path_factory.mktemp("two devices"))
    commands.env["THAW_LOGICAL_CPUS"] = "2"
    return commands


def stopped(commands: Commands, folder: Path, *arguments: str) -> None:
    """Stop a run by SIGTERM after some epochs; it saves the step that it is at."""
    checkpoint, often = "stage0-epoch[2-9]*.npz", "checkpoint.minutes=0.02"
    commands.start_and_stop(folder, checkpoint, signal.SIGTERM, *SMALL, *arguments, often)
    assert not (folder / "result.json").exists()


def test_on_one_device_it_is_refused_before_the_data_is_read(commands: Commands) -> None:
    ran = commands.run(*SMALL, "distribute=mirrored")
    assert ran.code != 0
    assert "distribute=mirrored spreads training over several GPUs of one machine, and TensorFlow sees no" in ran.err
    assert "data:" not in ran.out
    assert "Traceback" not in ran.err


def test_a_run_stopped_on_two_devices_continues_on_one_and_says_so(two_devices: Commands, tmp_path: Path) -> None:
    stopped(two_devices, tmp_path, "distribute=mirrored", "scratch.epochs=9")
    one = Commands(two_devices.folder)
    ran = one.run(f"resume={tmp_path}")
    assert ran.code == 0, ran.err
    assert "note: the run began on 2 devices and continues on 1: it may end with other numbers" in ran.out
    assert ran.result()["engine"]["devices"] == 1


def losses(commands: Commands, ran: Ran) -> list[float]:
    history = commands.client().get_metric_history(ran.result()["run_id"], "epoch/loss")
    return [entry.value for entry in history]


@pytest.mark.slow
def test_the_losses_are_those_of_one_device(two_devices: Commands, tmp_path: Path) -> None:
    one = Commands(tmp_path / "one")
    one.folder.mkdir()
    whole = one.run(*FINETUNE)
    assert whole.code == 0, whole.err
    spread = two_devices.run(*FINETUNE, "distribute=mirrored")
    assert spread.code == 0, spread.err
    assert " · spread over 2 devices" in spread.out
    assert losses(one, whole)[-1] < 0.8 * losses(one, whole)[0], "the network must learn, or this test sees nothing"
    assert losses(two_devices, spread) == pytest.approx(losses(one, whole), rel=1e-3)
    tags = two_devices.client().get_run(spread.result()["run_id"]).data.tags
    assert tags["fingerprint.devices"] == "2"
    assert spread.result()["config_sha256"] != whole.result()["config_sha256"]


@pytest.mark.slow
def test_resuming_on_as_many_devices_changes_no_bit(two_devices: Commands, tmp_path: Path) -> None:
    long = ("scratch.epochs=9", "distribute=mirrored")
    stopped(two_devices, tmp_path / "stopped", *long)
    resumed = two_devices.run(f"resume={tmp_path / 'stopped'}")
    assert resumed.code == 0, resumed.err
    assert "note: the run began" not in resumed.out
    undisturbed = two_devices.run(*SMALL, *long)
    assert losses(two_devices, resumed) == losses(two_devices, undisturbed)
    assert resumed.result()["weights_sha256"] == undisturbed.result()["weights_sha256"]  # of the final ones
    assert resumed.result()["metrics"] == undisturbed.result()["metrics"]

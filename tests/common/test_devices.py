"""How many devices train, and where several cannot. No TensorFlow."""

import pytest

from thaw.common import devices, tensorflow_setup
from thaw.common.errors import UserError
from thaw.common.hardware import Hardware


def machine(gpus: int) -> Hardware:
    return Hardware(openvino=True, bfloat16=True, float16=False, gpu_capabilities=((8, 0),) * gpus)


def test_all_gpus_train_where_that_is_asked_for_and_one_device_otherwise() -> None:
    assert devices.training_devices("mirrored", machine(4), 32) == 4
    assert devices.training_devices("none", machine(4), 32) == 1


@pytest.mark.parametrize(("gpus", "found"), [(0, "no GPU"), (1, "one GPU")])
def test_one_device_is_refused_for_a_new_run_only(gpus: int, found: str) -> None:
    with pytest.raises(UserError, match=f"TensorFlow sees {found} here. Leave distribute out"):
        devices.training_devices("mirrored", machine(gpus), 32)
    assert devices.training_devices("mirrored", machine(gpus), 32, resumed=True) == 1


def test_a_batch_has_an_image_for_each_device() -> None:
    assert devices.training_devices("mirrored", machine(4), 4) == 4
    with pytest.raises(UserError, match=r"train\.batch_size=3 among 4 devices: set at least 4"):
        devices.training_devices("mirrored", machine(4), 3)


def test_logical_cpus_stand_for_gpus_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THAW_LOGICAL_CPUS", "3")
    assert devices.training_devices("mirrored", machine(0), 32) == 3
    assert devices.training_devices("mirrored", machine(2), 32) == 2


@pytest.mark.parametrize("text", ["0", "two", "-1", "1.5", "65"])
def test_a_number_of_logical_cpus_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("THAW_LOGICAL_CPUS", text)
    with pytest.raises(UserError, match=f"THAW_LOGICAL_CPUS={text} is no number of devices"):
        tensorflow_setup.logical_cpus()

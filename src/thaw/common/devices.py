"""The devices that training is spread over: all GPUs of this machine with distribute=mirrored, one device otherwise."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

from thaw.common import tensorflow_setup
from thaw.common.errors import UserError
from thaw.common.hardware import Hardware


def training_devices(distribute: str, hardware: Hardware, batch_size: int, *, resumed: bool = False) -> int:
    """Return how many devices train: 1, or all GPUs that TensorFlow sees with distribute=mirrored.

    Args:
        distribute: none or mirrored.
        hardware: of `detect_hardware`, with its GPUs.
        batch_size: images of a step, on all devices together.
        resumed: the run has begun already; it may continue on one device.

    Raises:
        UserError: there are not several devices, or more than images in a batch.
    """
    if distribute == "none":
        return 1
    gpus = len(hardware.gpu_capabilities)
    devices = gpus or tensorflow_setup.logical_cpus()
    if devices == 1 and not resumed:
        found = "one GPU" if gpus else "no GPU"
        raise UserError(
            f"distribute=mirrored spreads training over several GPUs of one machine, and TensorFlow sees {found} here. "
            "Leave distribute out, or let it see more: CUDA_VISIBLE_DEVICES limits which, and without CUDA's libraries "
            "it sees none (THAW_GPU=1 ./scripts/train installs them)"
        )
    if batch_size < devices:
        raise UserError(
            f"distribute=mirrored divides train.batch_size={batch_size} among {devices} devices: set at least {devices}"
        )
    return devices


@cache
def strategy(devices: int) -> Any:
    """Return TensorFlow's strategy for so many devices, above 1. Call `start_tensorflow` first.

    It is one object a process: the jobs of a sweep share backbones, whose variables belong to it.
    """
    import tensorflow as tf

    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    with tensorflow_setup.quiet_stderr():
        return tf.distribute.MirroredStrategy(
            [f"{kind}:{i}" for i in range(devices)],
            # Sums are in the same order every time. TensorFlow's default, collectives, waited for ever on two logical
            # CPUs, with the one thread for operations of deterministic=true and with more.
            cross_device_ops=tf.distribute.ReductionToOneDevice(),
        )


def variables_on(devices: int) -> AbstractContextManager[Any]:
    """Within the block, let each of the devices have a copy of every variable that is made."""
    return nullcontext() if devices == 1 else strategy(devices).scope()

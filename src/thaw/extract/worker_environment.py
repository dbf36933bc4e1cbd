"""What must be the same on two machines for them to compute the same rows, bit for bit."""

import functools
import importlib.metadata
import socket

from thaw.common import environment, hardware
from thaw.common.errors import UserError
from thaw.data import dataset_cache, decode
from thaw.frozen import activations


@functools.cache
def worker_environment() -> dict[str, str]:
    """Return what decides on decoded pixels and OpenVINO's results, besides data and networks, by name.

    The number of threads does not.
    """
    return {
        **{name: str(version) for name, version in dataset_cache.decoder_versions().items()},
        "openvino": importlib.metadata.version("openvino"),
        "thaw's decoding": f"{decode.VERSION}",
        "thaw's activations": str(activations.KEY_FORMAT),
        "int8 instructions": " ".join(hardware.vnni_sets()),
        **environment.kernel_settings(threads=False),
    }


def check_worker_environment(expected: dict[str, str]) -> None:
    """Raise UserError when this process would compute other rows than the machine that `expected` is of."""
    own = worker_environment()
    for name in sorted({*own, *expected}):
        if own.get(name) != expected.get(name):
            raise UserError(
                f"the machine {socket.gethostname()} would compute other bits than the one that writes the cache: "
                f"{name} is {own.get(name, 'absent')!r} there and {expected.get(name, 'absent')!r} here. Use machines "
                "whose processors have the same instructions, with the same packages"
            )

"""OpenVINO as thaw imports it, and the one runtime object of a process."""

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry.

    With it, every conversion forks this process to report to a server of Google's, and writes to ~/intel. Without the
    package OpenVINO uses a substitute (openvino/tools/ovc/telemetry_utils.py).
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # makes its import fail
    import openvino

    return openvino


@functools.cache
def openvino_core() -> Any:
    """Return the process's only `openvino.Core`; it lives until the process ends.

    A core's CPU plugin gives its thread an alternate signal stack, and puts back the one it found when it is destroyed
    (src/plugins/intel_cpu/src/plugin.cpp, SigAltStackSetup). Of two cores, the first to be destroyed unmaps the stack
    that the second one puts back: the process's next signal, for which Python uses that stack, ends it with SIGSEGV.
    """
    return import_openvino().Core()


@contextmanager
def sharing_the_core() -> Iterator[None]:
    """Let libraries that make cores of their own, as NNCF does, get the process's one."""
    openvino, core = import_openvino(), openvino_core()
    own = openvino.Core
    openvino.Core = lambda: core
    try:
        yield
    finally:
        openvino.Core = own

"""Ctrl-C and SIGTERM stay what they are, also where foreign code catches the exception that they raise."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def stops_pass() -> Iterator[None]:
    """Raise what the handlers of SIGINT and SIGTERM raised while the block ran, whatever became of it there.

    OpenVINO's conversion calls Python from C++ and turns a KeyboardInterrupt into a RuntimeError, or loses it: some of
    its messages do not even name it. So the signal is what is watched, not the error.
    """
    if threading.current_thread() is not threading.main_thread():  # handlers run in the main thread alone
        yield
        return
    stops: list[BaseException] = []
    own = {n: handler for n in (signal.SIGINT, signal.SIGTERM) if callable(handler := signal.getsignal(n))}
    try:
        for number, handler in own.items():
            signal.signal(number, _noting(handler, stops))
        yield
    except BaseException:
        if not stops:
            raise
    finally:
        for number, handler in own.items():
            signal.signal(number, handler)
    if stops:
        raise stops[0]


def _noting(
    handler: Callable[[int, FrameType | None], Any], stops: list[BaseException]
) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, frame: FrameType | None) -> None:
        try:
            handler(number, frame)
        except BaseException as stop:
            stops.append(stop)
            raise

    return handle

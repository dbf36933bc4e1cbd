"""Ctrl-C and SIGTERM stay what they are where foreign code catches the exception that they raise, or can wait."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def propagate_signals() -> Iterator[None]:
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


class PendingSignal:
    """Whether a stop was asked for, and by which signal."""

    def __init__(self) -> None:
        self._asked: Callable[[], Any] | None = None

    @property
    def received(self) -> bool:
        return self._asked is not None

    def deliver(self) -> None:
        """Do what the signal does, if one came: raise KeyboardInterrupt, or what SIGTERM's handler raises."""
        if self._asked is not None:
            asked, self._asked = self._asked, None
            asked()


@contextmanager
def defer_signals(until: str) -> Iterator[PendingSignal]:
    """Let the first SIGINT or SIGTERM wait for `Stops.act`, or for the block's end; a second one acts at once.

    until: printed on standard error when it comes, as what it waits for may take seconds.
    """
    stops = PendingSignal()
    if threading.current_thread() is not threading.main_thread():
        yield stops
        return
    own = {n: handler for n in (signal.SIGINT, signal.SIGTERM) if callable(handler := signal.getsignal(n))}

    def note(number: int, frame: FrameType | None) -> None:
        handler = own[signal.Signals(number)]
        if stops.received:
            handler(number, frame)
        stops._asked = lambda: handler(number, None)
        # Not print: a handler may come while another line is being written.
        os.write(2, f"stopping {until}; once more stops at once\n".encode())

    try:
        for number in own:
            signal.signal(number, note)
        yield stops
    finally:
        for number, handler in own.items():
            signal.signal(number, handler)
    stops.deliver()

"""SIGINT and SIGTERM around code that swallows what their handlers raise, or that should reach a safe point first."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]


@contextmanager
def _wrapped_handlers(wrap: Callable[[Handler], Handler]) -> Iterator[None]:
    """Wrap the handlers of SIGINT and SIGTERM while the block runs. Elsewhere than in the main thread none runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {n: handler for n in (signal.SIGINT, signal.SIGTERM) if callable(handler := signal.getsignal(n))}
    try:
        for number, handler in handlers.items():
            signal.signal(number, wrap(handler))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def propagate_signals() -> Iterator[None]:
    """Raise what the handlers of SIGINT and SIGTERM raised while the block ran, even if the block swallowed it.

    OpenVINO's conversion calls Python from C++ and turns a KeyboardInterrupt into a RuntimeError, or loses it: some of
    its messages do not even name it. So the handlers are watched, not the error.
    """
    raised: list[BaseException] = []

    def recording(handler: Handler) -> Handler:
        def handle(number: int, frame: FrameType | None) -> None:
            try:
                handler(number, frame)
            except BaseException as error:
                raised.append(error)
                raise

        return handle

    try:
        with _wrapped_handlers(recording):
            yield
    except BaseException:
        if not raised:
            raise
    if raised:
        raise raised[0]


class PendingSignal:
    """A signal that was received and waits to be delivered, if there is one."""

    def __init__(self) -> None:
        self._handle: Callable[[], Any] | None = None

    @property
    def received(self) -> bool:
        """Whether a signal is waiting."""
        return self._handle is not None

    def deliver(self) -> None:
        """Do what the signal does, if one came: raise KeyboardInterrupt, or what SIGTERM's handler raises."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            handle()


@contextmanager
def defer_signals(until: str) -> Iterator[PendingSignal]:
    """Defer the first SIGINT or SIGTERM to `PendingSignal.deliver`, or to the block's end; a second one acts at once.

    Args:
        until: printed on standard error when the signal comes, as what it waits for may take seconds.
    """
    pending = PendingSignal()

    def deferring(handler: Handler) -> Handler:
        def handle(number: int, frame: FrameType | None) -> None:
            if pending.received:
                handler(number, frame)
            pending._handle = lambda: handler(number, None)
            # Not print: a handler may run while another line is being written.
            os.write(2, f"stopping {until}; once more stops at once\n".encode())

        return handle

    with _wrapped_handlers(deferring):
        yield pending
    pending.deliver()

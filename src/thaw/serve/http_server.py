"""Runs an application on a socket until a signal, and finishes what was begun."""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from thaw.common.errors import UserError

MAX_CONNECTIONS = 1000  # idle ones included: below the 1,024 files that a process may have open
KEEP_ALIVE_SECONDS = 30


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound; port 0 is a free one. Raises UserError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise UserError(f"host={host} is no address of this machine: use 127.0.0.1, or 0.0.0.0 for all") from error
    bound = socket.socket(family, kind, protocol)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that ended a moment ago is no hindrance
    try:
        bound.bind(address)  # not listening yet: a client is refused until there is an answer for it
    except OSError as error:
        bound.close()
        reason = (error.strerror or str(error)).lower()
        remedies = {errno.EADDRNOTAVAIL: "an address of this machine: 127.0.0.1, or 0.0.0.0 for all its networks"}
        remedy = remedies.get(error.errno or 0, "another port, or port=0 for a free one")
        raise UserError(f"host={host} port={port}: {reason}. Choose {remedy}") from error
    return bound


def address(bound: socket.socket) -> str:
    """Return the address at which a browser on this machine finds a bound socket."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class _Protocol(H11Protocol):
    """Ends connections that uvicorn would wait for without end.

    These are clients whose request's first lines do not come whole, be it their first request or a later one, clients
    that go on sending a body that was refused, and clients that do not read their answer.
    """

    patience_seconds = 15.0
    _stalled: asyncio.TimerHandle | None = None
    _without_request: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._without_request, self._stalled):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Bound how long bytes may come that are no request: from the first of them, however many follow."""
        if self._has_request():
            if self._without_request is not None:
                self._without_request.cancel()
            self._without_request = None
        elif self._without_request is None:
            self._without_request = self.loop.call_later(self.patience_seconds, self._end_without_request)

    def _has_request(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _end_without_request(self) -> None:
        if not self._has_request() and not self.transport.is_closing():
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self.patience_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
        super().resume_writing()


class _Server(uvicorn.Server):
    """Ends well at the first signal, which uvicorn would raise again afterwards, and at once at the second."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None], on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready, self._on_stop = on_ready, on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(128 + sig)
        self.should_exit = True
        self._on_stop()


def build_server(
    app: ASGIApp, drain_seconds: float, on_ready: Callable[[], None], on_stop: Callable[[], None]
) -> uvicorn.Server:
    """Return a server, for `run_until_signal`.

    Args:
        app: the application.
        drain_seconds: how long requests are waited for after a signal.
        on_ready: called when requests are taken.
        on_stop: called in a signal's handler at the first signal. A second one ends the process.
    """
    config = uvicorn.Config(
        app, http=_Protocol, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
        proxy_headers=False, limit_concurrency=MAX_CONNECTIONS, backlog=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=max(1, round(drain_seconds)),
    )  # fmt: skip
    return _Server(config, on_ready, on_stop)


def run_until_signal(server: uvicorn.Server, bound: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM, then take no new connections, finish what was begun, close the socket and return.

    Raises UserError when another process has taken the address since it was bound.
    """
    try:
        server.run(sockets=[bound])
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        host, port = bound.getsockname()[:2]
        raise UserError(f"host={host} port={port}: another process took it meanwhile. Choose another port") from error

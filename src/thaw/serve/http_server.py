"""Runs an application on a socket until a signal, and finishes what was begun."""

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
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        bound.listen(MAX_CONNECTIONS)
    except OSError as error:
        bound.close()
        reason = (error.strerror or str(error)).lower()
        remedy = "another port, or port=0 for a free one" if host else "another host"
        raise UserError(f"host={host} port={port}: {reason}. Choose {remedy}") from error
    return bound


def address(bound: socket.socket) -> str:
    """Return the address at which a browser on this machine finds a bound socket."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class _Protocol(H11Protocol):
    """Ends a connection whose request's first lines do not come whole: uvicorn waits for them without end."""

    header_seconds = 15.0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.loop.call_later(self.header_seconds, self._end_without_request)

    def _end_without_request(self) -> None:
        if self.scope is None and not self.transport.is_closing():
            self.transport.close()


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


def run_until_signal(
    app: ASGIApp, bound: socket.socket, drain_seconds: float, on_ready: Callable[[], None], on_stop: Callable[[], None]
) -> None:
    """Serve until SIGINT or SIGTERM, then take no new connections, finish what was begun, and return.

    Args:
        app: the application.
        bound: the socket, which is closed at the end.
        drain_seconds: how long requests are waited for after the signal.
        on_ready: called when requests are taken.
        on_stop: called in a signal's handler at the first signal. A second one ends the process.
    """
    config = uvicorn.Config(
        app, http=_Protocol, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
        proxy_headers=False, limit_concurrency=MAX_CONNECTIONS, backlog=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=max(1, round(drain_seconds)),
    )  # fmt: skip
    server = _Server(config, on_ready, on_stop)
    server.run(sockets=[bound])

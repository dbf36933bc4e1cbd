"""What a request may cost: bytes, images and time. Beyond it the request is refused with the reason."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

RETRY_SECONDS = 1  # what Retry-After says: a full queue of the default length is computed in about that time


Answer = TypeVar("Answer")


class Refused(Exception):
    """A request that is not answered: its HTTP `status`, the `reason` for people, and seconds until it may be retried.

    close: the connection ends with the answer.
    """

    def __init__(self, status: int, reason: str, retry_after: int | None = None, close: bool = False) -> None:
        super().__init__(reason)
        self.status, self.reason, self.retry_after, self.close = status, reason, retry_after, close


@dataclass(frozen=True)
class Limits:
    """The limits of one request; buffer_bytes is that of all bodies together."""

    body_bytes: int
    buffer_bytes: int
    images: int
    read_seconds: float
    answer_seconds: float


class BodyBuffer:
    """Counts the bytes of all bodies that are held, so that many requests at once do not fill the memory.

    Bytes count as they come: a slow client holds what it has sent, not what it says that it will send.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self.held = max_bytes, 0

    @contextmanager
    def share(self) -> Iterator["BufferShare"]:
        """Yield one request's part, which is given back when the block ends."""
        share = BufferShare(self)
        try:
            yield share
        finally:
            self.held -= share.held

    def has_room(self, size: int) -> bool:
        """Return whether so many bytes more can be held."""
        return self.held + size <= self._max_bytes


class BufferShare:
    """The bytes of one request."""

    def __init__(self, buffer: BodyBuffer) -> None:
        self._buffer, self.held = buffer, 0

    def hold(self, size: int) -> None:
        """Count bytes that have come. Raises Refused (503) when there is no room for them."""
        if not self._buffer.has_room(size):
            raise busy("the server holds as many bytes of requests as it may")
        self.held += size
        self._buffer.held += size


def busy(why: str) -> Refused:
    """Return the refusal of a request that can be sent again soon."""
    return Refused(503, f"{why}: send the request again in a moment", RETRY_SECONDS)


async def body_chunks(request: Request, limits: Limits, share: BufferShare) -> AsyncIterator[bytes]:
    """Yield a body's chunks as they come, counted in `share`.

    Raises:
        Refused: 413 when it is, or says that it is, too large; 503 when there is no room; 400 when it ends early.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limits.body_bytes:
        raise _too_large(limits)
    try:
        async for chunk in request.stream():
            if share.held + len(chunk) > limits.body_bytes:
                raise _too_large(limits)
            share.hold(len(chunk))
            yield chunk
    except ClientDisconnect as error:
        raise Refused(400, "the client ended the connection", close=True) from error


@asynccontextmanager
async def read_timeout(limits: Limits) -> AsyncIterator[None]:
    """Raise Refused (408) when the block, which reads a request, takes too long."""
    try:
        async with asyncio.timeout(limits.read_seconds):
            yield
    except TimeoutError as error:
        reason = f"the request did not arrive whole within {limits.read_seconds:g} seconds (read_seconds of the server)"
        raise Refused(408, reason, close=True) from error


async def while_connected(request: Request, answer: Coroutine[Any, Any, Answer]) -> Answer:
    """Return an answer, or give it up when the client, whose body has been read, ends the connection.

    Raises Refused (499, as nginx counts it) in that case: nobody waits, and others do.
    """
    task = asyncio.ensure_future(answer)
    watch = asyncio.ensure_future(_until_disconnect(request))
    try:
        await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Refused(499, "the client ended the connection", close=True)
    finally:
        task.cancel()
        watch.cancel()


async def _until_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _too_large(limits: Limits) -> Refused:
    # The connection stays: uvicorn drops what still comes, and a client that sends all before it reads gets the answer.
    return Refused(413, f"the request is larger than {limits.body_bytes / 1e6:g} MB (max_mb of the server)")

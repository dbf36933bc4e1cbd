"""Reads the images of a request: files of a form, one image as the body, or JSON with base64 texts."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from thaw.common.console import printable
from thaw.data.file_bytes import BadImageError
from thaw.data.picture_input import decode_base64
from thaw.serve.serve_limits import BufferShare, Limits, Refused, body_chunks, read_timeout

ACCEPTED = "multipart/form-data with files, an image (image/jpeg and the like), or application/json"
_OTHER_BODIES = ("application/octet-stream", "application/x-www-form-urlencoded")  # what clients say for want of a type


@dataclass(frozen=True)
class SentImage:
    """An image of a request: the bytes of a file, and a name for it that can be shown. error: why there are none."""

    name: str
    content: bytes = b""
    error: str = ""


class _InMemoryParser(MultiPartParser):
    """Keeps files in memory, as people's pictures are not to be left on a disk; the body's size bounds them."""

    spool_max_size = 2**62
    ended = False

    def on_end(self) -> None:
        self.ended = True  # the boundary behind the last part was read


async def read_images(request: Request, limits: Limits, share: BufferShare) -> list[SentImage]:
    """Return the images of a request in the order in which they were sent.

    Raises:
        Refused: 415 for another kind of body; 400 for one that is not what it says, or has no image; 413 for too large
            a body or too many images; 408 and 503 as `body_chunks` and `read_timeout`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    chunks = body_chunks(request, limits, share)
    async with read_timeout(limits):
        if kind == "multipart/form-data":
            images = await _files_of_form(request, chunks, limits.images)
        elif kind == "application/json" or kind.endswith("+json"):
            body = b"".join([chunk async for chunk in chunks])
            images = await asyncio.to_thread(images_of_json, body)
        elif kind.startswith("image/") or kind in _OTHER_BODIES:
            images = _whole_body(b"".join([chunk async for chunk in chunks]))
        else:
            raise Refused(415, f"content-type {printable(kind[:100]) or 'missing'}: send {ACCEPTED}")
    if not images:
        raise Refused(400, f"the request has no image: send {ACCEPTED}")
    if len(images) > limits.images:
        raise _too_many(limits.images)
    return images


def images_of_json(body: bytes) -> list[SentImage]:
    """Return the images of `{"images": [...]}`; each is base64, plain or as a data URL. Raises Refused (400)."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON: {error}") from error
    texts = content.get("images") if isinstance(content, dict) else None
    if not isinstance(texts, list):
        raise Refused(400, 'the JSON must be {"images": [...]}, a list of images in base64 or as data URLs')
    return [_decoded(text, f"images[{i}]") for i, text in enumerate(texts)]


def _decoded(text: Any, name: str) -> SentImage:
    if not isinstance(text, str):
        return SentImage(name, error=f"it is {_json_type(text)} where an image in base64 is expected")
    try:
        return SentImage(name, decode_base64(text, name, allow_paths=False))
    except BadImageError as error:
        return SentImage(name, error=error.reason)


def _json_type(value: Any) -> str:
    names = {dict: "an object", list: "a list", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _whole_body(body: bytes) -> list[SentImage]:
    return [SentImage("the image", body)] if body else []


async def _files_of_form(request: Request, chunks: AsyncIterator[bytes], max_images: int) -> list[SentImage]:
    try:
        parser = _InMemoryParser(request.headers, chunks, max_files=max_images, max_fields=100)  # type: ignore[arg-type]
        form = await parser.parse()
        if not parser.ended:  # a file that was cut off would be left out without a word
            raise MultiPartException("it ends before its closing boundary")
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise _too_many(max_images) from error
        raise Refused(400, f"the form cannot be read: {error.message}") from error
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    return [SentImage(_shown_name(file.filename), await file.read()) for file in files]


def _shown_name(name: str | None) -> str:
    """Return a file's name as it can be printed, without the folders that some clients send."""
    return printable(re.split(r"[/\\]", name or "")[-1])[:255] or "the image"


def _too_many(images: int) -> Refused:
    return Refused(413, f"the request has more than {images} images (max_images of the server): send several requests")

"""Answers the images of a request: decoded in threads, computed in batches, each with its classes or its fault."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.data.decode import DecodeOptions
from thaw.data.file_bytes import BadImageError
from thaw.data.picture_input import pixels_of
from thaw.serve.batcher import Batcher, QueueFull, Seats
from thaw.serve.request_images import SentImage
from thaw.serve.serve_limits import Refused, busy

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ImageAnswer:
    """What is said of an image: its probabilities, float32 (C,), or the `error` that keeps it from having any."""

    name: str
    probabilities: Probabilities | None = None
    error: str = ""


@dataclass(frozen=True, eq=False)
class ServedModel:
    """What a server knows of its network.

    Attributes:
        name: what the server was started with, as people know it.
        class_names: of the outputs.
        image_size: side of the square input in pixels.
        options: rules of decoding.
        compute: images, uint8 (B, S, S, 3), to probabilities, float32 (B, C).
        calibrate: probabilities, float32 (N, C), to those after the run's temperature; None where there is none.
        heat: image, uint8 (S, S, 3), and class to heat, float32 (h, w), 0 to 1; None where the network has none.
        facts: engine, precision and the like, for /health.
    """

    name: str
    class_names: Sequence[str]
    image_size: int
    options: DecodeOptions
    compute: Callable[[npt.NDArray[np.uint8]], Probabilities]
    calibrate: Callable[[Probabilities], Probabilities] | None = None
    heat: Callable[[npt.NDArray[np.uint8], int], npt.NDArray[np.float32]] | None = None
    facts: dict[str, Any] | None = None


class ImageService:
    """Decodes and computes the images of all requests.

    Args:
        model: the network.
        batcher: computes its probabilities.
        threads: decode images, at most so many at once: a picture of 100 million pixels takes 300 MB and more.
        answer_seconds: how long a request may take, from when it is read.
    """

    def __init__(self, model: ServedModel, batcher: Batcher, threads: int, answer_seconds: float) -> None:
        self.model, self._batcher, self._answer_seconds = model, batcher, answer_seconds
        self._decoders = ThreadPoolExecutor(threads, "decode")

    async def answers(self, images: Sequence[SentImage]) -> list[ImageAnswer]:
        """Return an answer for each image, in order.

        Raises:
            Refused: 503 when too many images wait already; 504 when it takes too long.
        """
        try:
            seats = self._batcher.reserve(len(images))
        except QueueFull as error:
            raise busy(f"{self._batcher.taken} images wait already") from error
        with seats:
            try:
                async with asyncio.timeout(self._answer_seconds):
                    return await asyncio.gather(*(self._answer(image, seats) for image in images))
            except TimeoutError as error:
                reason = f"no answer within {self._answer_seconds:g} seconds (answer_seconds of the server)"
                raise Refused(504, reason) from error

    async def pixels(self, image: SentImage) -> npt.NDArray[np.uint8]:
        """Return an image as the network sees it, uint8 (S, S, 3). Raises BadImageError."""
        return await self._in_thread(self._decode, image)

    async def _answer(self, image: SentImage, seats: Seats) -> ImageAnswer:
        try:
            pixels = await self.pixels(image)
        except BadImageError as error:
            seats.skip()
            return ImageAnswer(image.name, error=error.reason)
        except MemoryError:
            seats.skip()
            return ImageAnswer(image.name, error="the server has too little memory for so large a picture")
        probabilities: Probabilities = await asyncio.wrap_future(seats.submit(pixels))
        return ImageAnswer(image.name, probabilities)

    def _decode(self, image: SentImage) -> npt.NDArray[np.uint8]:
        if image.error:
            raise BadImageError(image.name, image.error, "unreadable")
        return pixels_of(image.content, self.model.image_size, self.model.options, image.name)

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._decoders, function, *arguments)

    def close(self) -> None:
        """End the threads; what they do is finished."""
        self._decoders.shutdown(cancel_futures=True)
        self._batcher.close()

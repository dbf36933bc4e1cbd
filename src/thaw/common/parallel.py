"""Work on many images at a time, in order, without piling up results."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from thaw.common.console import progress

CHUNK_ITEMS = 16  # images a task: handing single thumbnails to a thread costs more than decoding them
PREFETCH_CHUNKS = 4  # tasks a thread that may wait to be taken: 17 MB a thread at 299x299
MAX_THREADS = 16  # more of them only wait for Python's lock while the images are thumbnails

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch_map(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield function(item) of every item, in their order, computed in threads ahead of whoever takes them.

    Pillow lets go of Python's lock while it decodes, as do hashing and reading, so threads share the cores. An error of
    `function` is raised in its place, and ends the work.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = min(cores, MAX_THREADS)

    def run(start: int) -> list[Result]:
        return [function(item) for item in items[start : start + CHUNK_ITEMS]]

    waiting: deque[Future[list[Result]]] = deque()
    with ThreadPoolExecutor(count) as threads:
        try:
            for start in range(0, len(items), CHUNK_ITEMS):
                waiting.append(threads.submit(run, start))
                if len(waiting) > PREFETCH_CHUNKS * count:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:  # after an error, Ctrl-C included, only what has begun is waited for
            for future in waiting:
                future.cancel()


def with_progress(results: Iterable[Result], label: str, total: int) -> Iterator[Result]:
    """Pass the results on, and show how many of `total` there were in a progress bar."""
    with progress(label, total) as steps:
        for result in results:
            yield result
            steps.advance()

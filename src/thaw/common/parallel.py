"""Ordered work in threads, a bounded number of results ahead of the reader."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Protocol, TypeVar

from thaw.common.console import progress
from thaw.common.hardware import cpu_count

CHUNK_ITEMS = 16  # images a task: handing single thumbnails to a thread costs more than decoding them
PREFETCH_CHUNKS = 4  # tasks a thread that may wait to be taken: 17 MB a thread at 299x299
MAX_THREADS = 16  # more of them only wait for Python's lock while the images are thumbnails

# Images that a process of `ShardWorkers` gets at once: seconds of work, beside which starting a task takes no time, and
# as much is lost with a process that dies. No result depends on the number.
SHARD_IMAGES = 256

Item = TypeVar("Item")
Result = TypeVar("Result")
Shared = TypeVar("Shared")


class ShardWorkers(Protocol):
    """Other processes, on this machine or on others, that compute shards of a data set."""

    def map(
        self, function: Callable[[Shared, Item, int], Result], shared: Shared, shards: Iterable[Item]
    ) -> Iterator[Result]:
        """Yield function(shared, shard, threads) of every shard, in their order, a bounded number ahead of the reader.

        A shard whose process died is computed again by another one. An error of `function` is raised in its place.

        Args:
            function: of a module, as the processes import it; it computes in so many threads.
            shared: what all shards need, sent once to each machine.
            shards: sent one by one, read only as far as the work is ahead.
        """


def prefetch_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    threads: int | None = None,
    prefetch: int | None = None,
    chunk: int = CHUNK_ITEMS,
) -> Iterator[Result]:
    """Yield function(item) of every item, in their order, computed in threads ahead of the reader.

    Pillow releases Python's lock while it decodes, as do hashing and reading, so threads share the cores. An error of
    `function` is raised in its place, and ends the work.

    Args:
        function: called in the threads; must be safe there.
        items: read in the calling thread, only as far as the work is ahead.
        threads: by default one a core, at most MAX_THREADS.
        prefetch: chunks that may wait to be taken; by default PREFETCH_CHUNKS a thread.
        chunk: items that a thread takes at once.
    """
    threads = threads or default_threads()
    prefetch = prefetch or PREFETCH_CHUNKS * threads
    source = iter(items)
    waiting: deque[Future[list[Result]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            while group := list(islice(source, chunk)):
                waiting.append(pool.submit(lambda group: [function(item) for item in group], group))
                if len(waiting) > prefetch:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:  # after an error, Ctrl-C included, only what has begun is waited for
            for future in waiting:
                future.cancel()


def default_threads() -> int:
    """Return one thread a core, at most MAX_THREADS; Pillow, hashing and reading release Python's lock."""
    return min(cpu_count(), MAX_THREADS)


def with_progress(results: Iterable[Result], label: str, total: int, unit: str = "") -> Iterator[Result]:
    """Yield the results, and show in a progress bar how many of `total` there were."""
    with progress(label, total, unit) as bar:
        for result in results:
            yield result
            bar.advance()

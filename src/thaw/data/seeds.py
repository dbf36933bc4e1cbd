"""Random numbers that depend on nothing but the seed, their purpose, and counters."""

import numpy as np

# A number for each purpose keeps the streams independent; changing one changes every run's data.
STREAMS = {
    "split": 0,
    "limit": 1,
    "shuffle": 2,
    "augment": 3,
    "view": 4,
    "group": 5,
    "sample": 6,
    "dropout": 7,
    "change": 8,
}


def rng_for(seed: int, stream: str, *counters: int) -> np.random.Generator:
    """Return the generator of one stream and its counters, for example `rng_for(seed, "shuffle", stage, epoch)`.

    Stateless: any batch of any epoch can be drawn alone, so a resumed run needs no saved generator. Philox, because a
    key is all of its state; `spawn_key`, because plain entropy is padded with zeros and (3,) would equal (3, 0).

    Args:
        seed: The run's.
        stream: One of `STREAMS`.
        counters: Each from 0 to 2**32 - 1.

    Raises:
        ValueError: A counter is outside this range, where numpy would take it for several counters.
    """
    if not all(0 <= counter < 2**32 for counter in counters):
        raise ValueError(f"counters must be from 0 to 2**32 - 1, got {counters}")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(STREAMS[stream], *counters))))


def digest_counters(digest: str) -> tuple[int, ...]:
    """Return a hexadecimal hash as counters of `rng_for`, one for every eight digits: eight for a sha256."""
    return tuple(int(digest[start : start + 8], 16) for start in range(0, len(digest), 8))

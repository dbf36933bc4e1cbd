"""Random numbers that depend on nothing but the seed, what they are for, and counters."""

import numpy as np

# A number for each use keeps the streams apart; changing one changes every run's data.
USES = {"split": 0, "limit": 1, "shuffle": 2, "augment": 3}


def rng_for(seed: int, use: str, *counters: int) -> np.random.Generator:
    """Return the generator of one use at one place, for example `rng_for(seed, "augment", stage, epoch, image)`.

    Stateless: any batch of any epoch can be drawn alone, so a resumed run needs no saved generator. Philox, because a
    key is all of its state; `spawn_key`, because plain entropy is padded with zeros and (3,) would equal (3, 0).
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(USES[use], *counters))))

"""Which random numbers a split draws, by the version of the rule: `split.version`, which every run records."""

import hashlib
from collections.abc import Sequence

import numpy as np

from thaw.data.class_names import normalize_name
from thaw.data.seeds import digest_counters, rng_for

LATEST_VERSION = 2


class SplitRule:
    """What is drawn for each class.

    Version 1 draws by the class's number: a class that was added, removed or renamed gave other numbers to those after
    it, and moved images that were tested to those that train. Version 2 draws by its name, in any spelling (`folded`),
    so the split of a class hangs on nothing but the seed and its own images.
    """

    def __init__(self, version: int, seed: int, class_names: Sequence[str]) -> None:
        if version not in range(1, LATEST_VERSION + 1):
            raise ValueError(f"there is no version {version} of the rule for splits")
        self.keyed_by_name, self._seed = version > 1, seed
        self._keys = [
            digest_counters(hashlib.sha256(normalize_name(name).encode()).hexdigest()) for name in class_names
        ]

    def class_rng(self, use: str, label: int, *counters: int) -> np.random.Generator:
        """Return the generator of a class for one use (`seeds.USES`) at one place."""
        return rng_for(self._seed, use, *counters, *(self._keys[label] if self.keyed_by_name else (label,)))

    def shared_rng(self, use: str, *counters: int) -> np.random.Generator:
        """Return the generator that all classes share; of version 1 only."""
        return rng_for(self._seed, use, *counters)

    def fold_offset(self, label: int) -> int:
        """Return a number, modulo which the first fold is that gets one of a class's images left over.

        Version 1 goes through the folds in turn, so that they are of a size; version 2 takes any fold for any class,
        and folds differ by a few images more.
        """
        return self._keys[label][0] if self.keyed_by_name else label

"""Random numbers that a split draws, by the version of the rule: `split.version`, which every run records."""

import hashlib
from collections.abc import Sequence

import numpy as np

from thaw.data.class_name_spelling import normalize_name
from thaw.data.seeds import digest_counters, rng_for

LATEST_VERSION = 2


class SplitRule:
    """Gives each class its own random numbers.

    Version 1 draws by the class's number: a class that was added, removed or renamed gave other numbers to those after
    it, and moved images from test to training. Version 2 draws by the class's name in any spelling (`normalize_name`),
    so the split of a class depends on nothing but the seed and its own images.
    """

    def __init__(self, version: int, seed: int, class_names: Sequence[str]) -> None:
        if version not in range(1, LATEST_VERSION + 1):
            raise ValueError(f"there is no version {version} of the rule for splits")
        self.keyed_by_name, self._seed, self.class_names = version > 1, seed, class_names
        digests = [hashlib.sha256(normalize_name(name).encode()).hexdigest() for name in class_names]
        self._name_keys = [digest_counters(digest) for digest in digests]

    def class_rng(self, stream: str, label: int, *counters: int) -> np.random.Generator:
        """Return the generator of a class for one stream (`seeds.STREAMS`) and counters."""
        return rng_for(self._seed, stream, *counters, *(self._name_keys[label] if self.keyed_by_name else (label,)))

    def shared_rng(self, stream: str, *counters: int) -> np.random.Generator:
        """Return the generator that all classes share; for version 1 only."""
        return rng_for(self._seed, stream, *counters)

    def fold_offset(self, label: int) -> int:
        """Return the fold, modulo the number of folds, that is the first to get one of a class's remaining images.

        Version 1 takes the folds in turn, so that they are of one size; version 2 takes any fold for any class, and
        folds differ by a few images more.
        """
        return self._name_keys[label][0] if self.keyed_by_name else label

"""Catalogs of files and arrays, all of one class and assigned to train."""

import numpy as np

from thaw.data.catalog import Catalog


def catalog_of_files(paths):
    names = tuple(path.name for path in paths)
    return Catalog(names, tuple(map(str, paths)), None, *_labels(len(paths)))


def catalog_of_arrays(arrays):
    return Catalog(tuple(map(str, range(len(arrays)))), None, arrays, *_labels(len(arrays)))


def _labels(n):
    return np.zeros(n, np.int32), ("a",), np.zeros(n, np.int8)

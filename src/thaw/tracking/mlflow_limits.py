"""MLflow's limits on the names and values of params, metrics, tags, runs, experiments and data sets.

Lengths are those of MLflow 3.17's SQL columns (mlflow/store/tracking/dbmodels/models.py) and of its validation
(mlflow/utils/validation.py), the smaller of both. SQLite does not enforce its columns' lengths, other databases do.
"""

import hashlib
import posixpath
import re
import sys
from collections import Counter
from collections.abc import Iterable

ENTRIES_PER_BATCH = 100  # params or tags
KEY_LENGTH = 250
PARAM_LENGTH = 6000
TAG_LENGTH = 8000
RUN_NAME_LENGTH = 250
EXPERIMENT_LENGTH = 256
USER_LENGTH = 256
DATASET_NAME_LENGTH = 500
DATASET_DIGEST_LENGTH = 36
DATASET_SOURCE_LENGTH = 65_535
DATASET_PROFILE_LENGTH = 65_535  # TEXT of MySQL, in bytes
# runs.artifact_uri holds 200: the experiment's folder, a slash, 32 characters of the run's id, and "/artifacts".
ARTIFACT_URI_LENGTH = 200 - len("/" + 32 * "0" + "/artifacts")

_SUFFIX_LENGTH = 9  # a dash and 8 characters of a hash


def shorten_value(content: object, length: int) -> str:
    """Return a param's or tag's value, cut to `length`, which config.yaml and overrides.txt hold in full.

    Bytes that are no UTF-8 are escaped, and so is NUL, which PostgreSQL refuses.
    """
    return _clean(content)[:length]


def shorten_title(content: object, length: int) -> str:
    """Return a name that must stay unique, as `fit_value` does; one that is cut ends in a hash of all of it."""
    text = _clean(content)
    return text if len(text) <= length else f"{text[: length - _SUFFIX_LENGTH]}-{_hash(text)}"


def shorten_keys(keys: Iterable[str]) -> dict[str, str]:
    """Return each key's name in MLflow: `finetune.stages[0].name` becomes `finetune.stages_0_.name`.

    Names are unique: when two keys would get the same one, each changed name ends in a hash of its key.
    """
    names = {key: shorten_key(key) for key in keys}
    counts = Counter(names.values())
    return {key: name if counts[name] == 1 or name == key else _with_hash(name, key) for key, name in names.items()}


def shorten_key(key: str) -> str:
    """Return one key's name in MLflow: at most 250 characters, and no path that normalizes to another, as `a//b`."""
    allowed = re.sub(r"[^\w./: -]" if sys.platform != "win32" else r"[^\w./ -]", "_", key)
    path = posixpath.normpath(allowed).lstrip("/") if allowed else "_"
    if path != allowed or path == "." or path.startswith(".."):
        allowed = _with_hash(path.replace("..", "__"), key)
    return allowed[:KEY_LENGTH]


def _with_hash(text: str, key: str) -> str:
    return f"{text[: KEY_LENGTH - _SUFFIX_LENGTH]}-{_hash(key)}"


def _clean(content: object) -> str:
    return str(content).encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:8]

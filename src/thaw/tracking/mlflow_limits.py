"""What fits MLflow: names and values of params, metrics, tags, runs, experiments and data sets.

Lengths are those of MLflow 3.17's SQL columns (mlflow/store/tracking/dbmodels/models.py) and of its validation
(mlflow/utils/validation.py), the smaller one of both. SQLite does not hold its columns to them, other databases do.
"""

import hashlib
import posixpath
import re
import sys
from collections import Counter
from collections.abc import Iterable

ENTRIES_PER_BATCH = 100  # params, or tags, at a time
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

_MARK = 9  # of characters: a dash and 8 of a hash


def fit_value(content: object, length: int) -> str:
    """Return a param's or tag's value, cut; bytes that are no UTF-8 are escaped, and NUL, which PostgreSQL refuses.

    All of it is in config.yaml and overrides.txt.
    """
    return _clean(content)[:length]


def fit_title(content: object, length: int) -> str:
    """Return a name that people tell runs apart by, as `value` does; one that is cut ends in a hash of all of it."""
    text = _clean(content)
    return text if len(text) <= length else f"{text[: length - _MARK]}-{_hash(text)}"


def fit_keys(keys: Iterable[str]) -> dict[str, str]:
    """Return keys as MLflow takes them: `finetune.stages[0].name` becomes `finetune.stages_0_.name`.

    Two keys never get one name: where they would, each that was changed ends in a hash.
    """
    found = {key: fit_key(key) for key in keys}
    times = Counter(found.values())
    return {key: own if times[own] == 1 or own == key else _marked(own, key) for key, own in found.items()}


def fit_key(key: str) -> str:
    """Return one key as MLflow takes it: cut at 250 characters, and no path that means another, as `a//b` does."""
    allowed = re.sub(r"[^\w./: -]" if sys.platform != "win32" else r"[^\w./ -]", "_", key)
    path = posixpath.normpath(allowed).lstrip("/") if allowed else "_"
    if path != allowed or path == "." or path.startswith(".."):
        allowed = _marked(path.replace("..", "__"), key)
    return allowed[:KEY_LENGTH]


def _marked(text: str, key: str) -> str:
    return f"{text[: KEY_LENGTH - _MARK]}-{_hash(key)}"


def _clean(content: object) -> str:
    return str(content).encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:8]

"""Check that a SQLite file is a store of this version of MLflow, within milliseconds and without importing MLflow."""

import re
import shlex
import sqlite3
from contextlib import closing
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

_VERSION = "alembic_version"
_ADVICE = "Put a copy of it back, or choose another file: tracking.uri=sqlite:///FILE"
_MAX_CHECKED_BYTES = 16e6  # checking a file of this size takes 20 ms


class UnusableDatabase(Exception):
    """The file cannot be used; the message says why and what to do."""


def check_schema(database: Path) -> None:
    """Raise UnusableDatabase when a file is damaged, another program's, or of an older or newer MLflow.

    A file that is empty, locked or cannot be opened passes: MLflow reports what is wrong with it.
    """
    try:
        if database.stat().st_size == 0:
            return
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=0.05)) as file:
            tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            versions = file.execute(f"SELECT version_num FROM {_VERSION}").fetchall() if _VERSION in tables else []
            sound = database.stat().st_size > _MAX_CHECKED_BYTES or file.execute(
                "PRAGMA quick_check(1)"
            ).fetchone() == ("ok",)
    except (sqlite3.OperationalError, OSError):  # locked, or a folder
        return
    except sqlite3.DatabaseError as error:
        raise UnusableDatabase(f"{error}. {_ADVICE}") from error
    if not sound:
        raise UnusableDatabase(f"the file is damaged. {_ADVICE}")
    if tables and not versions:
        raise UnusableDatabase(
            "it is the database of another program. Choose a file of its own: tracking.uri=sqlite:///FILE"
        )
    if versions:
        _check_version(database, versions[0][0])


def _check_version(database: Path, revision: str) -> None:
    migrations = _migrations()
    if not migrations or revision in migrations.keys() - set(migrations.values()):
        return
    if revision in migrations:
        uri = shlex.quote(f"sqlite:///{database.as_posix()}")
        raise UnusableDatabase(
            f"its tables are those of an older MLflow than {version('mlflow')}. Make a copy of it, then: "
            f"mlflow db upgrade {uri}"
        )
    raise UnusableDatabase(
        f"its tables are those of a newer MLflow than {version('mlflow')}. Install that MLflow here, or choose another "
        "file: tracking.uri=sqlite:///FILE"
    )


def _migrations() -> dict[str, str | None]:
    """Return the revision of each of MLflow's migrations with the revision that it follows."""
    spec = find_spec("mlflow")
    folders = spec.submodule_search_locations if spec else None
    files = (Path(folders[0]) / "store/db_migrations/versions").glob("*.py") if folders else ()
    migrations: dict[str, str | None] = {}
    for text in (file.read_text(encoding="utf-8") for file in files):
        revision = re.search(r"^revision = [\"'](\w+)", text, re.MULTILINE)
        previous = re.search(r"^down_revision = [\"'](\w+)", text, re.MULTILINE)
        if revision:
            migrations[revision[1]] = previous[1] if previous else None
    return migrations

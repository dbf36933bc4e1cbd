"""Whether a SQLite file is a store of this version of MLflow, seen in milliseconds and without importing MLflow."""

import re
import shlex
import sqlite3
from contextlib import closing
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

_VERSION = "alembic_version"
_PUT_BACK = "Put a copy of it back, or choose another file: tracking.uri=sqlite:///FILE"
_CHECKED = 16e6  # bytes up to which a whole file is checked: 20 ms


class UnusableDatabase(Exception):
    """What is wrong with the file, and what to do about it."""


def check_schema(database: Path) -> None:
    """Raise Unfit when a file is damaged, another program's, or of an older or newer MLflow.

    A file that is empty, locked or cannot be opened is left to others to judge.
    """
    try:
        if database.stat().st_size == 0:
            return
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=0.05)) as file:
            tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            found = file.execute("SELECT version_num FROM alembic_version").fetchall() if _VERSION in tables else []
            sound = database.stat().st_size > _CHECKED or file.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
    except (sqlite3.OperationalError, OSError):  # locked, or a folder
        return
    except sqlite3.DatabaseError as error:
        raise UnusableDatabase(f"{error}. {_PUT_BACK}") from error
    if not sound:
        raise UnusableDatabase(f"the file is damaged. {_PUT_BACK}")
    if tables and not found:
        raise UnusableDatabase(
            "it is the database of another program. Choose a file of its own: tracking.uri=sqlite:///FILE"
        )
    if found:
        _check_version(database, found[0][0])


def _check_version(database: Path, found: str) -> None:
    steps = _steps()
    if not steps or found in steps.keys() - set(steps.values()):
        return
    if found in steps:
        uri = shlex.quote(f"sqlite:///{database.as_posix()}")
        raise UnusableDatabase(
            f"its tables are those of an older MLflow than {version('mlflow')}. Make a copy of it, then: "
            f"mlflow db upgrade {uri}"
        )
    raise UnusableDatabase(
        f"its tables are those of a newer MLflow than {version('mlflow')}. Install that MLflow here, or choose another "
        "file: tracking.uri=sqlite:///FILE"
    )


def _steps() -> dict[str, str | None]:
    """MLflow's migrations: each one's revision, and that of the one before it."""
    spec = find_spec("mlflow")
    folders = spec.submodule_search_locations if spec else None
    files = (Path(folders[0]) / "store/db_migrations/versions").glob("*.py") if folders else ()
    steps: dict[str, str | None] = {}
    for text in (file.read_text(encoding="utf-8") for file in files):
        revision = re.search(r"^revision = [\"'](\w+)", text, re.MULTILINE)
        before = re.search(r"^down_revision = [\"'](\w+)", text, re.MULTILINE)
        if revision:
            steps[revision[1]] = before[1] if before else None
    return steps

"""The database of studies, which is a sweep's ledger: SQLite on one machine, any server of SQLAlchemy for many."""

import hashlib
import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from filelock import FileLock
from optuna.storages import RDBStorage

from thaw.common.errors import UserError
from thaw.config import database_urls

HEARTBEAT_SECONDS = 10
# A process on another machine is taken for dead after this time without a heartbeat: nine missed in a row.
GRACE_SECONDS = 90
_DRIVERS = {
    "postgres": "pip install 'thaw[postgresql]'",
    "mysql": "pip install pymysql, and write mysql+pymysql://...",
    "mariadb": "pip install pymysql, and write mariadb+pymysql://...",
}
_SQLITE_WAIT = 120.0  # seconds that one process waits for the write of another
_LOCK_WAIT = 300  # seconds for the claims of all other workers; one takes some 20 ms


def open_storage(url: str) -> RDBStorage:
    """Return the database of studies, created if it is a SQLite file that does not exist.

    Raises:
        UserError: the database cannot be reached, its driver is not installed, or its password is not known.
    """
    quiet_optuna()
    address = _address(url)
    arguments: dict[str, Any] = {}
    if file := sqlite_file(url):
        file.parent.mkdir(parents=True, exist_ok=True)
        arguments["connect_args"] = {"timeout": _SQLITE_WAIT}
    else:
        arguments["pool_pre_ping"] = True  # a server that restarted has closed the connections of before
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of heartbeats
            # Optuna creates its tables without a lock: two workers that start together would both try.
            with _file_lock(file.with_name(file.name + ".setup.lock")) if file else _no_lock():
                return RDBStorage(
                    address,
                    engine_kwargs=arguments,
                    heartbeat_interval=HEARTBEAT_SECONDS,
                    grace_period=GRACE_SECONDS,
                )
    except ImportError as error:
        driver = getattr(error.__cause__, "name", None) or error.name
        remedy = next((text for kind, text in _DRIVERS.items() if url.startswith(kind)), "see SQLAlchemy's dialects")
        raise UserError(
            f"sweep.storage={_shown(url)} needs a driver that is not installed ({driver}): {remedy}"
        ) from error
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError, RuntimeError) as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise UserError(f"sweep.storage={_shown(url)} cannot be used: {reason}") from error


def sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLite URL, None of a server's."""
    try:
        parsed = sqlalchemy.engine.make_url(url)
    except sqlalchemy.exc.ArgumentError as error:
        raise UserError(
            f"sweep.storage={_shown(url)} is no database's URL. Expected: sqlite:///FILE or postgresql://USER@HOST/NAME"
        ) from error
    if parsed.get_backend_name() != "sqlite":
        return None
    if not parsed.database or parsed.database == ":memory:":
        raise UserError(
            f"sweep.storage={_shown(url)} names no file: a sweep's jobs run in other processes, which must see it"
        )
    return Path(parsed.database).expanduser().absolute()


def quiet_optuna() -> None:
    """Let Optuna log warnings only: the sweep's own lines say what happens."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)


class ClaimLock:
    """Lets one worker at a time look at a study and claim a job, whatever machines the workers run on.

    SQLite: a lock file beside it. PostgreSQL and MySQL: an advisory lock of the server, which ends with the
    connection, and so with a worker that is killed.
    """

    def __init__(self, storage: RDBStorage, url: str, study: str) -> None:
        self._storage, self._file = storage, sqlite_file(url)
        self._name = f"thaw {study}"
        digest = hashlib.sha256(self._name.encode()).digest()
        self._number = int.from_bytes(digest[:8], "big", signed=True)
        self._digest = digest.hex()[:16]

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold the lock while the block runs."""
        if self._file is not None:
            with _file_lock(self._file.with_name(f"{self._file.name}.{self._digest}.lock")):
                yield
            return
        key: int | str
        with self._storage.engine.connect() as connection:
            backend = self._storage.engine.dialect.name
            if backend == "postgresql":
                take, release, key = "SELECT pg_advisory_lock(:key)", "SELECT pg_advisory_unlock(:key)", self._number
            elif backend in ("mysql", "mariadb"):
                take, release, key = f"SELECT GET_LOCK(:key, {_LOCK_WAIT})", "SELECT RELEASE_LOCK(:key)", self._digest
            else:
                raise UserError(
                    f"sweep.storage: {backend} has no lock that thaw knows; use PostgreSQL, MySQL or SQLite"
                )
            connection.execute(sqlalchemy.text(take), {"key": key})
            connection.commit()  # a session's lock outlives the transaction, which must not stay open
            try:
                yield
            finally:
                connection.execute(sqlalchemy.text(release), {"key": key})
                connection.commit()


def _file_lock(file: Path) -> FileLock:
    return FileLock(file, timeout=_LOCK_WAIT)


@contextmanager
def _no_lock() -> Iterator[None]:
    yield


def _shown(url: str) -> str:
    """Return the URL without its password."""
    return database_urls.hide_password(url)


def _address(url: str) -> str:
    """Return the URL that a driver gets: with the password, and of PostgreSQL with the driver that is installed.

    SQLAlchemy 2.0 takes psycopg2 for `postgresql://`, 2.1 takes psycopg, whichever is there.
    """
    if database_urls.is_hidden(url):
        password = os.environ.get(database_urls.PASSWORD_VARIABLE)
        if not password:
            raise UserError(
                f"sweep.storage={url}: its password is in the environment variable {database_urls.PASSWORD_VARIABLE}, "
                "which is not set here. Set it, or leave ':***' out and let the database's client find it, "
                "PostgreSQL's in ~/.pgpass"
            )
        url = database_urls.show_password(url, password)
    if url.startswith("postgresql://"):
        driver = "psycopg" if importlib.util.find_spec("psycopg") else "psycopg2"
        return url.replace("postgresql://", f"postgresql+{driver}://", 1)
    return url

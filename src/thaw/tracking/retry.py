"""Calls to a store that is locked or away for a while: tried again until it answers, given up with one clear error."""

import math
import re
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path
from threading import Thread
from typing import Any

from thaw.common.console import say
from thaw.common.errors import UserError
from thaw.config import command_lines

# Seconds. In MLflow a writer of SQLite waits 20 before it fails; a server's requests are not repeated there (store.py),
# so that this is the only patience. A request to a server that hangs may take MLFLOW_HTTP_REQUEST_TIMEOUT, 120, more.
RETRY_SECONDS = 120.0
NOTICE_AFTER_SECONDS = 2.0
BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)  # the last one again and again

# Their time is the file's, not the store's.
_UPLOADS = ("log_artifact", "log_artifacts", "log_model_artifacts")


class StoreMissing(Exception):
    """The store's files are not where they were."""


class StoreUnreachable(UserError):
    """The store did not answer for PATIENCE seconds."""


class StoreRefused(UserError):
    """The store answers, and does not do what it was asked: a token that expired, a run that was deleted, ...

    code: MLflow's name of the error. remedy: what can be done, empty if its words do not tell.
    """

    def __init__(self, uri: str, error: BaseException) -> None:
        self.code, self.remedy = str(getattr(error, "error_code", "")), suggest_remedy(uri, error)
        super().__init__(f"tracking.uri={uri} refused: {root_cause(error)}. {self.remedy}".rstrip())
        self.__cause__ = error


class RetryingClient:
    """MLflow's client, every call of which waits for a store that is locked or away, and can be ended by Ctrl-C.

    raw: MLflow's own client.
    needs: files and folders without which no call is made. SQLite would create an empty database in the place of one
    that was moved, and MLflow an artifact folder.
    """

    def __init__(self, connect: Callable[[], Any], uri: str, required_paths: tuple[Path, ...] = ()) -> None:
        self._uri, self._needs = uri, required_paths
        self.mlflow_client = self.retry(connect, notice=False)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.mlflow_client, name)
        return lambda *args, **kwargs: self.retry(lambda: method(*args, **kwargs), notice=name not in _UPLOADS)

    def call_once(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call the client once, in this thread; raises what it raises, and `Away`."""
        return self._try(lambda: getattr(self.mlflow_client, method)(*args, **kwargs))

    def retry(
        self, call: Callable[[], Any], find_earlier: Callable[[], Any] | None = None, *, notice: bool = True
    ) -> Any:
        """Call until the store answers, for PATIENCE seconds; a line says so when it takes longer than TELL.

        tell: whether a first attempt that is long means a store that is locked: no file is copied, nothing imported.
        `already` returns the result of an earlier attempt whose answer was lost, or None: for what must not be done
        twice. Raises Unanswered when patience ends, and Refused.
        """
        began = time.monotonic()
        told = WaitNotice(self._uri, began + NOTICE_AFTER_SECONDS)
        attempt, tries = 0, call
        while True:
            try:
                return self._beside(tries, told if notice else None)
            except Exception as error:
                if not is_transient(error):
                    if is_refusal(error):
                        raise StoreRefused(self._uri, error) from error
                    raise
                if time.monotonic() - began > RETRY_SECONDS:
                    raise unreachable_error(self._uri, error) from error
            told.print_if_due()
            time.sleep(backoff_seconds(attempt))
            attempt += 1
            if find_earlier is not None:
                tries = lambda: call() if (found := find_earlier()) is None else found  # noqa: E731

    def _beside(self, call: Callable[[], Any], told: "WaitNotice | None") -> Any:
        """Call in a thread of its own: SQLite waits 20 seconds for a lock, and no Ctrl-C reaches it there."""
        done: Future[Any] = Future()

        def work() -> None:
            try:
                done.set_result(self._try(call))
            except BaseException as error:
                done.set_exception(error)

        Thread(target=work, daemon=True, name="tracking call").start()
        while not wait([done], timeout=0.2).done:
            if told:
                told.print_if_due()
        return done.result()

    def _try(self, call: Callable[[], Any]) -> Any:
        for path in self._needs:
            if not path.exists():
                raise StoreMissing(f"{path} is not there")
        try:
            return call()
        except Exception as error:
            if is_transient(error) and self._uri.startswith("sqlite:"):
                _reconnect(self._uri)
            raise


class WaitNotice:
    """The one line of a call that waits, to be printed at `at` (`time.monotonic`)."""

    def __init__(self, uri: str, at: float) -> None:
        self._uri, self._at = uri, at

    def print_if_due(self) -> None:
        """Print it if it is time, once."""
        if time.monotonic() >= self._at:
            self._at = math.inf
            say(f"waiting for {self._uri}, which does not answer; up to {RETRY_SECONDS:.0f} s (Ctrl-C ends it)")


def is_transient(error: BaseException) -> bool:
    """Whether a later attempt may succeed: a locked or absent database, no connection, a server's own failure.

    MLflow names the status of what a server refuses (4xx), and says of all else that the request failed.
    """
    from mlflow.exceptions import MlflowException

    if isinstance(error, StoreMissing):
        return True
    if isinstance(error, MlflowException):
        failed = "API request to" in str(error) and "failed with error code" not in str(error)
        return error.error_code == "TEMPORARILY_UNAVAILABLE" or failed
    status = _status(error)
    if status is not None:
        return status >= 500 or status == 429
    return type(error).__name__ == "OperationalError" and "database is locked" in str(error)  # while it is opened


def is_refusal(error: BaseException) -> bool:
    """Whether a store has answered that it will not, as opposed to a defect and to a local disk that is full."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException) or _status(error) is not None


def _status(error: BaseException) -> int | None:
    """The HTTP status of an upload's failure, which MLflow leaves as requests raises it."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    return status if isinstance(status, int) else None


def suggest_remedy(uri: str, error: BaseException) -> str:
    """Return what can be done about a refusal, as far as its words tell."""
    text = f"{getattr(error, 'error_code', '')} {error}"
    if re.search(r"\b40[13]\b|UNAUTHENTICATED|PERMISSION_DENIED", text):
        return (
            "Has the token expired, or was the right to write withdrawn? They are in MLFLOW_TRACKING_TOKEN, or "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
        )
    if "lifecycle_stage" in text or "'active' state" in text or "RESOURCE_DOES_NOT_EXIST" in text:
        restore = command_lines.mlflow_command(uri, "runs restore --run-id RUN_ID")
        return f"Was the run or its experiment deleted? Restore it: {restore}, or mlflow experiments restore."
    return ""


def root_cause(error: object) -> str:
    """Return the first line of the first cause: `database is locked`, `[Errno 111] Connection refused`."""
    while isinstance(error, BaseException) and (error.__cause__ or error.__context__):
        error = error.__cause__ or error.__context__
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300].rstrip(".")


def unreachable_error(uri: str, error: BaseException) -> StoreUnreachable:
    """Return the error that says which store does not answer, why, and what to do."""
    if uri.startswith("sqlite:"):
        need = "Was it moved? Put it back." if isinstance(error, StoreMissing) else "End the program that holds it."
    else:
        need = "Is it running?"
    return StoreUnreachable(f"tracking.uri={uri} did not answer for {RETRY_SECONDS:.0f} s: {root_cause(error)}. {need}")


def backoff_seconds(attempt: int) -> float:
    """Return the seconds to wait after failure number `attempt`, counted from 0."""
    return BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)]


def _reconnect(uri: str) -> None:
    # A database that was moved away and copied back is another file, and open connections still hold the old one.
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    engine = SqlAlchemyStore._engine_map.get(uri)
    if engine is not None:
        engine.dispose()

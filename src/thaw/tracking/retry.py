"""Retries of store calls while the store is locked or unreachable, with one clear error when they do not help."""

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

# MLflow itself waits 20 s for a lock of SQLite, and does not repeat a server's requests (mlflow_store.py). A request to
# a server that hangs may take MLFLOW_HTTP_REQUEST_TIMEOUT, 120 s, more than this.
RETRY_SECONDS = 120.0
NOTICE_AFTER_SECONDS = 2.0
BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)  # the last one repeats

# Methods that are slow because of a file's size: no sign that the store is locked.
_UPLOADS = ("log_artifact", "log_artifacts", "log_model_artifacts")


class StoreMissing(Exception):
    """The store's database file or artifact folder was moved or removed."""


class StoreUnreachable(UserError):
    """The store did not answer for RETRY_SECONDS; the message says which store, why, and what to do."""

    def __init__(self, uri: str, error: BaseException) -> None:
        advice = "Is it running?"
        if uri.startswith("sqlite:"):
            moved = isinstance(error, StoreMissing)
            advice = "Was it moved? Put it back." if moved else "End the program that holds it."
        super().__init__(f"tracking.uri={uri} did not answer for {RETRY_SECONDS:.0f} s: {root_cause(error)}. {advice}")


class StoreRefused(UserError):
    """The store answered with an error that a retry does not help: an expired token, a deleted run, ...

    code: MLflow's error code. remedy: advice for the user, empty when the error is an unknown one.
    """

    def __init__(self, uri: str, error: BaseException) -> None:
        self.code, self.remedy = str(getattr(error, "error_code", "")), suggest_remedy(uri, error)
        super().__init__(f"tracking.uri={uri} refused: {root_cause(error)}. {self.remedy}".rstrip())
        self.__cause__ = error


class RetryingClient:
    """MLflow's client with retries: every method waits while the store is locked or unreachable, and obeys Ctrl-C.

    mlflow_client: MLflow's own client.

    Args:
        connect: Returns MLflow's client; it is retried too.
        uri: The store's, for messages.
        required_paths: Files and folders without which no call is made: SQLite would create an empty database in
            place of one that was moved, and MLflow an artifact folder.
    """

    def __init__(self, connect: Callable[[], Any], uri: str, required_paths: tuple[Path, ...] = ()) -> None:
        self._uri, self._required_paths = uri, required_paths
        self.mlflow_client = self.retry(connect, notice=False)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.mlflow_client, name)
        return lambda *args, **kwargs: self.retry(lambda: method(*args, **kwargs), notice=name not in _UPLOADS)

    def call_once(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call MLflow's client once, in this thread; raises what it raises, and StoreMissing."""
        return self._try(lambda: getattr(self.mlflow_client, method)(*args, **kwargs))

    def retry(
        self, call: Callable[[], Any], find_earlier: Callable[[], Any] | None = None, *, notice: bool = True
    ) -> Any:
        """Call the store until it answers, for at most RETRY_SECONDS.

        Args:
            call: Is repeated with a backoff while its error is transient.
            find_earlier: For a call that must not be done twice: returns the result of an earlier attempt whose
                answer was lost, or None.
            notice: Whether to print a line when the first attempt takes long; false for a call that copies files or
                imports modules, which is slow without a lock.

        Raises:
            StoreUnreachable: The store did not answer in time.
            StoreRefused: The store answered with an error that a retry does not help.
        """
        began = time.monotonic()
        wait_notice = WaitNotice(self._uri, began + NOTICE_AFTER_SECONDS)
        failures, attempt = 0, call
        while True:
            try:
                return self._in_thread(attempt, wait_notice if notice else None)
            except Exception as error:
                if not is_transient(error):
                    if is_refusal(error):
                        raise StoreRefused(self._uri, error) from error
                    raise
                if time.monotonic() - began > RETRY_SECONDS:
                    raise StoreUnreachable(self._uri, error) from error
            wait_notice.print_if_due()
            time.sleep(backoff_seconds(failures))
            failures += 1
            if find_earlier is not None:
                attempt = lambda: call() if (earlier := find_earlier()) is None else earlier  # noqa: E731

    def _in_thread(self, call: Callable[[], Any], wait_notice: "WaitNotice | None") -> Any:
        """Call in another thread: SQLite waits up to 20 seconds for a lock, and ignores Ctrl-C meanwhile."""
        result: Future[Any] = Future()

        def work() -> None:
            try:
                result.set_result(self._try(call))
            except BaseException as error:
                result.set_exception(error)

        Thread(target=work, daemon=True, name="tracking call").start()
        while not wait([result], timeout=0.2).done:
            if wait_notice:
                wait_notice.print_if_due()
        return result.result()

    def _try(self, call: Callable[[], Any]) -> Any:
        for path in self._required_paths:
            if not path.exists():
                raise StoreMissing(f"{path} is not there")
        try:
            return call()
        except Exception as error:
            if is_transient(error) and self._uri.startswith("sqlite:"):
                _reconnect(self._uri)
            raise


class WaitNotice:
    """The one line that a waiting call prints, due at `at` (`time.monotonic`)."""

    def __init__(self, uri: str, at: float) -> None:
        self._uri, self._at = uri, at

    def print_if_due(self) -> None:
        """Print the line once it is due, a single time."""
        if time.monotonic() >= self._at:
            self._at = math.inf
            say(f"waiting for {self._uri}, which does not answer; up to {RETRY_SECONDS:.0f} s (Ctrl-C ends it)")


def is_transient(error: BaseException) -> bool:
    """Return whether a retry may succeed: a locked or missing database, no connection, a server's internal error.

    MLflow's message has the status code when a server refuses a request (4xx), and none when the request failed.
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
    return type(error).__name__ == "OperationalError" and "database is locked" in str(error)  # on opening


def is_refusal(error: BaseException) -> bool:
    """Return whether the error is the store's answer, and neither a defect nor a local disk that is full."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException) or _status(error) is not None


def _status(error: BaseException) -> int | None:
    """Return the HTTP status of a failed upload, whose error MLflow passes on as requests raises it."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    return status if isinstance(status, int) else None


def suggest_remedy(uri: str, error: BaseException) -> str:
    """Return advice on a refusal, empty when its message is an unknown one."""
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


def backoff_seconds(attempt: int) -> float:
    """Return the seconds to wait after failure number `attempt`, counted from 0."""
    return BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)]


def _reconnect(uri: str) -> None:
    # A database that was moved and copied back is another file, and open connections still hold the old one.
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    engine = SqlAlchemyStore._engine_map.get(uri)
    if engine is not None:
        engine.dispose()

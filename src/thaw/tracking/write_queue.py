"""Queue of metrics and tags that a thread writes to the store, so that training never waits for it."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Condition, Thread
from typing import Any

from thaw.common.console import say
from thaw.tracking import retry
from thaw.tracking.mlflow_store import MlflowStore
from thaw.tracking.retry import StoreRefused, StoreUnreachable
from thaw.tracking.unsent_file import METRICS_PER_BATCH, TAGS_PER_BATCH, UNSENT_FILE, UnsentWrites

# What is logged within this time is sent together: an epoch of a head takes no longer than a commit of the database.
_BATCH_SECONDS = 1.0
# What was refused may be allowed later while training continues: a token is renewed, a deleted run restored.
_REFUSED_RETRY_SECONDS = 30.0


class WriteQueue:
    """Sends metrics and tags in order, in a thread that lives while there is something to send.

    While the store fails, the queue is also written to `unsent.json` in the run's folder, and retried without end. A
    batch whose answer was lost is sent again unchanged: a store has a metric once by key, step, time and value.

    work_started: set by the first successful `flush`. Before it, errors of the store are raised; after it, none ends
    the run: what the store does not take stays in `unsent.json`. store_failure: the latest reason for that, None while
    the store takes everything.
    """

    def __init__(self, store: MlflowStore, run_id: str, folder: Path) -> None:
        self._store, self._run_id, self._folder = store, run_id, folder
        self._metrics: list[Any] = []
        self._tags: dict[str, str] = {}
        self._files: list[tuple[str, str | None]] = []
        self._datasets: list[Mapping[str, str]] = []
        self._changed = Condition()
        self._worker: Thread | None = None
        self._next_send = 0.0  # of time.monotonic
        self._failures = 0
        self._flushing = False
        self._last_error: Exception | None = None  # None after a successful attempt
        self._is_spooled = False  # the store did not take metrics or tags, which are in `unsent.json` too
        self._spooled_at = 0.0  # of time.monotonic
        self.work_started = False
        self.store_failure: StoreRefused | StoreUnreachable | None = None

    def add(self, metrics: list[Any], tags: Mapping[str, str]) -> None:
        """Queue MLflow's metrics and tags, to be sent within a second; before the work, raise an earlier refusal."""
        with self._changed:
            self._raise_refusal()
            self._metrics += metrics
            self._tags.update(tags)
            if self._is_spooled and time.monotonic() - self._spooled_at > _BATCH_SECONDS:
                self._spool()
            self._wake_worker()

    def call_or_spool(
        self,
        call: Callable[[], object],
        spooled_file: Callable[[], tuple[str, str | None] | None] = lambda: None,
        dataset: Mapping[str, str] | None = None,
    ) -> None:
        """Call the store now; once the work has begun, a failure is not raised.

        Args:
            call: The call.
            spooled_file: Called after a failure; returns the file of the run to upload at its end, and its artifact
                folder.
            dataset: What `unsent_file.dataset_input` takes, to be logged at the run's end after a failure.
        """
        if not self._is_store_given_up():
            try:
                call()
                return
            except (StoreRefused, StoreUnreachable) as error:
                if not self.work_started:
                    raise
                self._continue_without_store(error)
        file = spooled_file()
        with self._changed:
            self._files += [file] if file else []
            self._datasets += [dataset] if dataset else []
            self._spool()

    def flush(self) -> None:
        """Wait until the queue is empty or the store is given up.

        Raises:
            StoreUnreachable: Only before the work: the store did not answer.
            StoreRefused: Only before the work: the store refused a batch.
        """
        began = time.monotonic()
        wait_notice = retry.WaitNotice(self._store.uri, began + retry.NOTICE_AFTER_SECONDS)
        with self._changed:
            self._flushing = True
            self._wake_worker()
            try:
                while (self._metrics or self._tags) and not self._is_store_given_up():
                    self._raise_refusal()
                    if time.monotonic() - began > retry.RETRY_SECONDS:
                        self._give_up()
                        break
                    wait_notice.print_if_due()
                    self._changed.wait(0.2)  # on Windows, Ctrl-C does not interrupt a wait without a timeout
            finally:
                self._flushing = False
            self.work_started = True

    def spool_all(self, status: str, ended: int, tags: Mapping[str, str]) -> Path:
        """Stop sending: write the queue, these tags and the run's end to `unsent.json`, and return its path."""
        with self._changed:
            self._write_unsent({**self._tags, **tags}, status, ended)
            self._metrics, self._tags, self._files, self._datasets = [], {}, [], []  # ends the worker
            self._is_spooled, self._next_send = False, 0.0
            self._changed.notify_all()
        return self._folder / UNSENT_FILE

    def _write_unsent(self, tags: Mapping[str, str], status: str | None = None, ended: int | None = None) -> None:
        UnsentWrites(
            self._run_id, self._store.uri, self._metrics, tags, status, ended, self._files, self._datasets
        ).write(self._folder)  # fmt: skip

    def _is_store_given_up(self) -> bool:
        """Return whether the store refused or timed out, and has taken nothing since."""
        return self.store_failure is not None and self._last_error is not None

    def _raise_refusal(self) -> None:
        if not self.work_started and self._last_error is not None and not retry.is_transient(self._last_error):
            if retry.is_refusal(self._last_error):
                raise StoreRefused(self._store.uri, self._last_error) from self._last_error
            raise self._last_error

    def _give_up(self) -> None:
        error = self._last_error or TimeoutError("no answer")
        unreachable = StoreUnreachable(self._store.uri, error)
        if not self.work_started:
            raise unreachable from self._last_error
        self._last_error = error
        self._continue_without_store(unreachable)

    def _continue_without_store(self, error: StoreRefused | StoreUnreachable) -> None:
        with self._changed:
            if isinstance(error, StoreUnreachable) and self._last_error is None:
                self._last_error = error
            if self.store_failure is None:
                why = str(error).replace("RUN_ID", self._run_id)
                say(f"{why} Training continues; what is not sent is kept in {self._folder / UNSENT_FILE}")
            self.store_failure = error

    def _wake_worker(self) -> None:
        if self._worker is None and (self._metrics or self._tags):
            self._worker = Thread(target=self._send_batches, daemon=True, name="tracking")
            self._worker.start()
        self._changed.notify_all()

    def _send_batches(self) -> None:
        while True:
            with self._changed:
                self._wait_until_due()
                metrics, keys = self._metrics[:METRICS_PER_BATCH], list(self._tags)[:TAGS_PER_BATCH]
                tags = {key: self._tags[key] for key in keys}
                if not metrics and not tags:
                    self._worker = None
                    return
            try:
                self._send(metrics, tags)
            except Exception as error:
                if not self._retry_after(error):
                    return
            else:
                self._remove_sent(metrics, tags)

    def _wait_until_due(self) -> None:
        """Wait until the next batch is due; a flush shortens the wait, but not the one after a failure."""
        while (rest := self._next_send - time.monotonic()) > 0 and not (self._flushing and self._last_error is None):
            self._changed.wait(rest)

    def _send(self, metrics: list[Any], tags: dict[str, str]) -> None:
        from mlflow.entities import RunTag

        entries = [RunTag(key, value) for key, value in tags.items()]
        self._store.client.call_once("log_batch", self._run_id, metrics=metrics, tags=entries)

    def _remove_sent(self, metrics: list[Any], tags: dict[str, str]) -> None:
        with self._changed:
            del self._metrics[: len(metrics)]
            for key, value in tags.items():
                if self._tags.get(key) == value:  # it may have been set again meanwhile
                    del self._tags[key]
            self._failures, self._last_error = 0, None
            full = len(metrics) == METRICS_PER_BATCH or len(tags) == TAGS_PER_BATCH
            self._next_send = time.monotonic() + (0.0 if full else _BATCH_SECONDS)
            if self._is_spooled and not self._metrics and not self._tags:
                self._end_spooling()
            self._changed.notify_all()

    def _end_spooling(self) -> None:
        self._is_spooled = False
        say(f"{self._store.uri} answers again: all metrics that waited are sent")
        if self._files or self._datasets:  # they are sent at the run's end
            self._spool()
        else:
            (self._folder / UNSENT_FILE).unlink(missing_ok=True)
            self.store_failure = None

    def _retry_after(self, error: Exception) -> bool:
        """Note a failed attempt, spool the queue in case the process is killed, and return whether to try again."""
        with self._changed:
            self._last_error = error
            self._failures += 1
            transient = retry.is_transient(error)
            again = transient or self.work_started
            seconds = retry.backoff_seconds(self._failures - 1) if transient else _REFUSED_RETRY_SECONDS
            self._next_send = time.monotonic() + seconds
            if not again:
                self._worker = None
            elif self._metrics or self._tags:
                if not transient:
                    self._continue_without_store(StoreRefused(self._store.uri, error))
                elif not self._is_spooled:
                    cause = retry.root_cause(error)
                    why = f"{self._store.uri} does not answer: {cause}"
                    say(f"{why}. Training continues; metrics are kept and sent later")
                self._is_spooled = True
                self._spool()
            self._changed.notify_all()
            return again

    def _spool(self) -> None:
        self._spooled_at = time.monotonic()
        with suppress(OSError):  # the folder may be missing together with the store
            self._write_unsent(self._tags)

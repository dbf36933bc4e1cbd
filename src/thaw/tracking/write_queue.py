"""Metrics and tags on their way to the store: training never waits for it, and nothing is lost while it is away."""

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
from thaw.tracking.spool import METRICS_PER_BATCH, TAGS_PER_BATCH, UNSENT_FILE, UnsentWrites, remove_unsent

# Metrics and tags are sent together when they come faster: an epoch of a head takes no longer than a commit.
_SECONDS = 1.0
# A refusal may be taken back while training goes on: a token is renewed, a deleted run restored.
_ASK_AGAIN = 30.0


class WriteQueue:
    """Sends in the order of arrival, in a thread that lives while there is something to send.

    While the store fails in a way that may pass, what waits is kept in `unsent.json` in `folder` too, and tried again
    without end. A batch whose answer was lost is sent again as it was: a store knows a metric by key, step, time and
    value, and takes it once.

    From the first `flush` that went well on, the work has begun, and no store ends it any more: what is refused, or
    not answered for too long, waits in `unsent.json`, and `missed` says why.
    """

    def __init__(self, store: MlflowStore, run_id: str, folder: Path) -> None:
        self._store, self._run_id, self._folder = store, run_id, folder
        self._metrics: list[Any] = []
        self._tags: dict[str, str] = {}
        self._files: list[tuple[str, str | None]] = []
        self._datasets: list[Mapping[str, str]] = []
        self._changed = Condition()
        self._worker: Thread | None = None
        self._due = 0.0  # of time.monotonic
        self._failures = 0
        self._hurried = False
        self._failed: Exception | None = None  # the last attempt's, None after one that went well
        self._stuck = False  # metrics or tags wait for a store that did not take them; they are in `unsent.json` too
        self._written = 0.0  # of time.monotonic
        self.work_started = False
        self.store_failure: StoreRefused | StoreUnreachable | None = None

    def add(self, metrics: list[Any], tags: Mapping[str, str]) -> None:
        """Take MLflow's metrics and tags, to be sent within a second. Before the work: raises what was refused."""
        with self._changed:
            self._refused()
            self._metrics += metrics
            self._tags.update(tags)
            if self._stuck and time.monotonic() - self._written > _SECONDS:
                self._keep()
            self._work_on()

    def call_or_spool(
        self, call: Callable[[], object], spooled_file: Callable[[], tuple[str, str | None] | None]
    ) -> bool:
        """Call the store, and say whether that went well; once the work has begun, a failure only leaves a file.

        later: returns what is to be sent instead when the store is back: a file of the run, and its artifact folder.
        """
        if not self._away():
            try:
                call()
                return True
            except (StoreRefused, StoreUnreachable) as error:
                if not self.work_started:
                    raise
                self._miss(error)
        file = spooled_file()
        with self._changed:
            self._files += [file] if file else []
            self._keep()
        return False

    def spool_dataset(self, entry: Mapping[str, str]) -> None:
        """Have a data set sent later, as `unsent.data_set` takes it."""
        with self._changed:
            self._datasets.append(entry)
            self._keep()

    def flush(self) -> None:
        """Wait until all is sent, or known not to be. Before the work: raises Unanswered, and what is refused."""
        began = time.monotonic()
        told = retry.WaitNotice(self._store.uri, began + retry.NOTICE_AFTER_SECONDS)
        with self._changed:
            self._hurried = True
            self._work_on()
            try:
                while (self._metrics or self._tags) and not self._away():
                    self._refused()
                    if time.monotonic() - began > retry.RETRY_SECONDS:
                        self._give_up()
                        break
                    told.print_if_due()
                    self._changed.wait(0.2)  # on Windows no Ctrl-C reaches a wait without an end
            finally:
                self._hurried = False
            self.work_started = True

    def spool_all(self, status: str, ended: int, tags: Mapping[str, str]) -> Path:
        """Give up: leave what waits, these tags and the status in the folder's `unsent.json`; return its path."""
        with self._changed:
            self._write({**self._tags, **tags}, status, ended)
            self._metrics, self._tags, self._files, self._datasets = [], {}, [], []  # the worker ends
            self._stuck, self._due = False, 0.0
            self._changed.notify_all()
        return self._folder / UNSENT_FILE

    def _write(self, tags: Mapping[str, str], status: str | None = None, ended: int | None = None) -> None:
        UnsentWrites(
            self._run_id, self._store.uri, self._metrics, tags, status, ended, self._files, self._datasets
        ).write(self._folder)  # fmt: skip

    def _away(self) -> bool:
        """Whether the work goes on without the store: it has refused, or was waited for in vain, and is not back."""
        return self.store_failure is not None and self._failed is not None

    def _refused(self) -> None:
        if not self.work_started and self._failed is not None and not retry.is_transient(self._failed):
            if retry.is_refusal(self._failed):
                raise StoreRefused(self._store.uri, self._failed) from self._failed
            raise self._failed

    def _give_up(self) -> None:
        error = self._failed or TimeoutError("no answer")
        lost = retry.unreachable_error(self._store.uri, error)
        if not self.work_started:
            raise lost from self._failed
        self._failed = error
        self._miss(lost)

    def _miss(self, error: StoreRefused | StoreUnreachable) -> None:
        with self._changed:
            if isinstance(error, StoreUnreachable) and self._failed is None:
                self._failed = error
            if self.store_failure is None:
                why = str(error).replace("RUN_ID", self._run_id)
                say(f"{why} Training goes on; what is not sent is kept in {self._folder / UNSENT_FILE}")
            self.store_failure = error

    def _work_on(self) -> None:
        if self._worker is None and (self._metrics or self._tags):
            self._worker = Thread(target=self._work, daemon=True, name="tracking")
            self._worker.start()
        self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._wait()
                metrics, keys = self._metrics[:METRICS_PER_BATCH], list(self._tags)[:TAGS_PER_BATCH]
                tags = {key: self._tags[key] for key in keys}
                if not metrics and not tags:
                    self._worker = None
                    return
            try:
                self._send(metrics, tags)
            except Exception as error:
                if not self._later(error):
                    return
            else:
                self._sent(metrics, tags)

    def _wait(self) -> None:
        """Wait until a batch is due; one that did not go is not hurried."""
        while (rest := self._due - time.monotonic()) > 0 and not (self._hurried and self._failed is None):
            self._changed.wait(rest)

    def _send(self, metrics: list[Any], tags: dict[str, str]) -> None:
        from mlflow.entities import RunTag

        entries = [RunTag(key, value) for key, value in tags.items()]
        self._store.client.call_once("log_batch", self._run_id, metrics=metrics, tags=entries)

    def _sent(self, metrics: list[Any], tags: dict[str, str]) -> None:
        with self._changed:
            del self._metrics[: len(metrics)]
            for key, value in tags.items():
                if self._tags.get(key) == value:  # it may have been set again meanwhile
                    del self._tags[key]
            self._failures, self._failed = 0, None
            full = len(metrics) == METRICS_PER_BATCH or len(tags) == TAGS_PER_BATCH
            self._due = time.monotonic() + (0.0 if full else _SECONDS)
            if self._stuck and not self._metrics and not self._tags:
                self._all_sent()
            self._changed.notify_all()

    def _all_sent(self) -> None:
        self._stuck = False
        say(f"{self._store.uri} answers again: all metrics that waited are sent")
        if self._files or self._datasets:  # they are sent at the run's end
            self._keep()
        else:
            remove_unsent(self._folder)
            self.store_failure = None

    def _later(self, error: Exception) -> bool:
        """Note a failure, and keep what waits: the process may be killed before the store is back.

        Returns whether to try again.
        """
        with self._changed:
            self._failed = error
            self._failures += 1
            passing = retry.is_transient(error)
            again = passing or self.work_started
            self._due = time.monotonic() + (retry.backoff_seconds(self._failures - 1) if passing else _ASK_AGAIN)
            if not again:
                self._worker = None
            elif self._metrics or self._tags:
                if not passing:
                    self._miss(StoreRefused(self._store.uri, error))
                elif not self._stuck:
                    cause = retry.root_cause(error)
                    say(
                        f"{self._store.uri} does not answer: {cause}. Training goes on; metrics are kept and sent later"
                    )
                self._stuck = True
                self._keep()
            self._changed.notify_all()
            return again

    def _keep(self) -> None:
        self._written = time.monotonic()
        with suppress(OSError):  # the folder may be away with the store
            self._write(self._tags)

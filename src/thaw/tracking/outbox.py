"""Metrics and tags on their way to the store: training never waits for it, and nothing is lost while it is away."""

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Condition, Thread
from typing import Any

from thaw.console import say
from thaw.tracking import patience
from thaw.tracking.store import Store
from thaw.tracking.unsent import FILE, METRICS, TAGS, Unsent, forget

# Metrics and tags are sent together when they come faster: an epoch of a head takes no longer than a commit.
_SECONDS = 1.0


class Outbox:
    """Sends in the order of arrival, in a thread that lives while there is something to send.

    While the store fails in a way that may pass, what waits is kept in `unsent.json` in `folder` too, and tried again
    without end. A batch whose answer was lost is sent again as it was: a store knows a metric by key, step, time and
    value, and takes it once.
    """

    def __init__(self, store: Store, run_id: str, folder: Path) -> None:
        self._store, self._run_id, self._folder = store, run_id, folder
        self._metrics: list[Any] = []
        self._tags: dict[str, str] = {}
        self._changed = Condition()
        self._worker: Thread | None = None
        self._due = 0.0  # of time.monotonic
        self._failures = 0
        self._hurried = False
        self._failed: Exception | None = None  # the last attempt's, None after one that went well
        self._kept = False  # what waits is in `unsent.json`

    def add(self, metrics: list[Any], tags: Mapping[str, str]) -> None:
        """Take MLflow's metrics and tags, to be sent within a second. Raises what the store has refused before."""
        with self._changed:
            self._refused()
            self._metrics += metrics
            self._tags.update(tags)
            self._work_on()

    def flush(self) -> None:
        """Wait until all is sent. Raises Unanswered when the store stays away, and what it refuses."""
        began = time.monotonic()
        told = patience.Told(self._store.uri, began + patience.TELL)
        with self._changed:
            self._hurried = True
            self._work_on()
            try:
                while self._metrics or self._tags:
                    self._refused()
                    if time.monotonic() - began > patience.PATIENCE:
                        error = self._failed or TimeoutError("no answer")
                        raise patience.gave_up(self._store.uri, error) from self._failed
                    told.now()
                    self._changed.wait(0.2)  # on Windows no Ctrl-C reaches a wait without an end
            finally:
                self._hurried = False

    def leave(self, status: str, ended: int, tags: Mapping[str, str]) -> Path:
        """Give up: leave what waits, these tags and the status in the folder's `unsent.json`; return its path."""
        with self._changed:
            self._write({**self._tags, **tags}, status, ended)
            self._metrics, self._tags, self._kept = [], {}, False  # the worker ends
        return self._folder / FILE

    def _write(self, tags: Mapping[str, str], status: str | None = None, ended: int | None = None) -> None:
        Unsent(self._run_id, self._store.uri, self._metrics, tags, status, ended).write(self._folder)

    def _refused(self) -> None:
        if self._failed is not None and not patience.transient(self._failed):
            raise self._failed

    def _work_on(self) -> None:
        if self._worker is None and (self._metrics or self._tags):
            self._worker = Thread(target=self._work, daemon=True, name="tracking")
            self._worker.start()
        self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._wait()
                metrics, keys = self._metrics[:METRICS], list(self._tags)[:TAGS]
                tags = {key: self._tags[key] for key in keys}
                if not metrics and not tags:
                    self._worker = None
                    return
            try:
                self._send(metrics, tags)
            except Exception as error:
                self._later(error)
                if not patience.transient(error):
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
        self._store.client.once("log_batch", self._run_id, metrics=metrics, tags=entries)

    def _sent(self, metrics: list[Any], tags: dict[str, str]) -> None:
        with self._changed:
            del self._metrics[: len(metrics)]
            for key, value in tags.items():
                if self._tags.get(key) == value:  # it may have been set again meanwhile
                    del self._tags[key]
            self._failures, self._failed = 0, None
            full = len(metrics) == METRICS or len(tags) == TAGS
            self._due = time.monotonic() + (0.0 if full else _SECONDS)
            if self._kept and not self._metrics and not self._tags:
                forget(self._folder)
                self._kept = False
                say(f"{self._store.uri} answers again: all that waited is sent")
            self._changed.notify_all()

    def _later(self, error: Exception) -> None:
        """Note a failure, and keep what waits: the process may be killed before the store is back."""
        with self._changed:
            self._failed = error
            self._due = time.monotonic() + patience.pause(self._failures)
            self._failures += 1
            if not patience.transient(error):
                self._worker = None
            elif self._metrics or self._tags:
                self._keep(error)
            self._changed.notify_all()

    def _keep(self, error: Exception) -> None:
        if not self._kept:
            cause = patience.reason(error)
            say(f"{self._store.uri} does not answer: {cause}. Training goes on; metrics are kept and sent later")
        self._kept = True
        with suppress(OSError):  # the folder may be away with the store
            self._write(self._tags)

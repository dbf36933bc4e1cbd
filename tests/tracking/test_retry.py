"""A store that is locked or away for a while loses nothing: SQLite, really locked, with its 20 seconds cut short."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from thaw.common.errors import UserError
from thaw.config.schema import TrackingConfig
from thaw.tracking import logged_model, retry
from thaw.tracking.run_lookup import find_run
from thaw.tracking.tracked_run import start_run
from thaw.tracking.unsent_file import UNSENT_FILE


@pytest.fixture
def hasty():
    """MLflow's writers fail after 50 ms instead of 20 seconds."""
    from sqlalchemy import Engine, event

    def cut(connection, cursor, statement, parameters, context, many):
        return statement.replace("busy_timeout = 20000", "busy_timeout = 50"), parameters

    event.listen(Engine, "before_cursor_execute", cut, retval=True)
    yield
    event.remove(Engine, "before_cursor_execute", cut)


@pytest.fixture
def lock(outputs):
    """`lock.execute("BEGIN EXCLUSIVE")` locks the database against all others, `lock.rollback()` frees it."""
    connection = sqlite3.connect(outputs / "mlflow.db", isolation_level=None, timeout=20)
    yield connection
    connection.close()


def until(condition):
    ends = time.monotonic() + 20
    while not condition() and time.monotonic() < ends:
        time.sleep(0.02)
    assert condition()


def history(client, run_id, key="epoch/loss"):
    return [(m.step, m.value) for m in client.get_metric_history(run_id, key)]


EPOCHS = [(epoch, 1 / epoch) for epoch in range(1, 11)]


def train(run, epochs=EPOCHS):
    for step, loss in epochs:
        run.log_metrics({"epoch/loss": loss}, step=step)
        run.set_tags({"thaw.stage": f"stage {step}"})


def test_training_goes_on_while_the_database_is_locked_and_no_metric_is_lost(
    tracking, outputs, client, tmp_path, hasty, lock, capsys
):
    with start_run(tracking, outputs, name="run", folder=tmp_path) as run:
        lock.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        train(run)
        assert time.monotonic() - began < 1
        until(
            lambda: (
                (tmp_path / UNSENT_FILE).exists()
                and len(json.loads((tmp_path / UNSENT_FILE).read_text())["metrics"]) == 10
            )
        )
        freed = time.time() * 1000
        lock.rollback()
    assert history(client, run.id) == EPOCHS
    assert all(m.timestamp < freed for m in client.get_metric_history(run.id, "epoch/loss"))
    assert client.get_run(run.id).data.tags["thaw.stage"] == "stage 10"
    assert client.get_run(run.id).info.status == "FINISHED"
    assert not (tmp_path / UNSENT_FILE).exists()
    output = capsys.readouterr().out
    assert f"{tracking.uri} does not answer: database is locked. Training continues" in output
    assert "answers again" in output


def test_a_database_that_was_moved_away_and_copied_back_has_it_all_and_nothing_took_its_place(
    tracking, outputs, client, tmp_path, hasty
):
    away = outputs.with_name("away")
    with start_run(tracking, outputs, name="run", folder=tmp_path) as run:
        train(run, EPOCHS[:3])
        run.flush()
        (outputs / "mlflow.db").rename(away)
        train(run, EPOCHS[3:])
        until(lambda: run._queue._failures > 2)  # the first attempt has the old connection, the others open one
        assert not (outputs / "mlflow.db").exists()
        shutil.copy(away, outputs / "mlflow.db")  # another file to the system: open connections hold the old one
        run.log_params({"seed": 7})
    client._tracking_client.store.engine.dispose()
    assert history(client, run.id) == EPOCHS
    assert client.get_run(run.id).data.params == {"seed": "7"}


@pytest.mark.parametrize("method", ["log_batch", "create_run", "log_outputs", "create_logged_model"])
def test_what_was_stored_though_the_answer_was_lost_is_not_stored_twice(
    tracking, outputs, client, tmp_path, monkeypatch, method
):
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    original, lost = getattr(MlflowClient, method), []

    def unheard(self, *arguments, **named):
        answer = original(self, *arguments, **named)
        if len(lost) < 2:
            lost.append(answer)
            raise MlflowException("API request to http://host failed with exception: connection reset by peer")
        return answer

    def write(model, logged, run_id, folder, metadata, parts):  # the real one needs TensorFlow: see test_runs.py
        (folder / "data").mkdir(parents=True)
        (folder / logged_model.KERAS_FILE).write_text(model)

    monkeypatch.setattr(logged_model, "write_model", write)
    monkeypatch.setattr(MlflowClient, method, unheard)
    with start_run(tracking, outputs, name="run", folder=tmp_path) as run:
        train(run)
        run.log_model("a network")
    assert lost
    assert [stored.info.run_id for stored in client.search_runs([run.experiment_id])] == [run.id]
    assert history(client, run.id) == EPOCHS
    assert len(client.get_run(run.id).outputs.model_outputs) == 1
    assert [model.status for model in client.search_logged_models([run.experiment_id])] == ["READY"]


def test_a_refusal_is_not_tried_again(tracking, outputs, client, tmp_path, monkeypatch):
    from mlflow import MlflowClient
    from mlflow.exceptions import RestException

    calls = []

    def refuse(self, run_id, **entries):
        calls.append(entries)
        raise RestException({"error_code": "PERMISSION_DENIED", "message": "not yours"})

    monkeypatch.setattr(MlflowClient, "log_batch", refuse)
    with (
        pytest.raises(
            UserError, match=f"tracking.uri={tracking.uri} refused: PERMISSION_DENIED: not yours. Has the token"
        ),
        start_run(tracking, outputs, name="run", folder=tmp_path) as run,
    ):
        run.log_params({"seed": 7})
    assert len(calls) == 2  # the params', and the reason's at the end
    assert client.get_run(run.id).info.status == "FAILED"
    assert not (tmp_path / UNSENT_FILE).exists()


def test_what_a_store_never_took_is_left_in_the_folder_and_sent_by_the_next_start(
    tracking, outputs, client, tmp_path, hasty, lock, monkeypatch, capsys
):
    monkeypatch.setattr(retry, "RETRY_SECONDS", 1.0)
    lost = start_run(tracking, outputs, name="lost", folder=tmp_path / "lost")
    with pytest.raises(UserError) as error, lost as run:  # noqa: PT012
        lock.execute("BEGIN EXCLUSIVE")
        train(run)
        run.log_params({"seed": 7})
    assert "did not answer for 1 s: database is locked" in str(error.value)
    assert tracking.uri in str(error.value)
    assert "End the program that holds it" in str(error.value)
    assert f"What was not sent is in {tmp_path / 'lost' / UNSENT_FILE}" in capsys.readouterr().out
    lock.rollback()
    assert client.get_run(run.id).info.status == "RUNNING"

    with start_run(tracking, outputs, name="next", folder=tmp_path / "next"):
        pass
    stored = client.get_run(run.id)
    assert (stored.info.status, stored.data.tags["thaw.reason"]) == ("FAILED", str(error.value))
    assert history(client, run.id) == EPOCHS
    assert not (tmp_path / "lost" / UNSENT_FILE).exists()


def test_a_run_whose_end_the_store_did_not_hear_of_says_so_and_goes_on_with_all_it_logged(
    tracking, outputs, client, tmp_path, hasty, lock, monkeypatch
):
    monkeypatch.setattr(retry, "RETRY_SECONDS", 1.0)
    unheard = pytest.raises(UserError, match=r"could not be closed as FINISHED .* database is locked.*unsent\.json")
    with unheard, start_run(tracking, outputs, name="run", folder=tmp_path) as run:
        run.log_metrics({"val/loss": float("nan")}, step=3)
        run.flush()
        lock.execute("BEGIN EXCLUSIVE")
        train(run, EPOCHS[:5])
    assert json.loads((tmp_path / UNSENT_FILE).read_text())["status"] == "FINISHED"
    lock.rollback()
    with pytest.raises(UserError, match="has finished"):
        start_run(tracking, outputs, name="run", folder=tmp_path, resume=run.id).__enter__()
    assert history(client, run.id) == EPOCHS[:5]
    assert find_run(tracking.uri, outputs, run.id).status == "FINISHED"


def test_ctrl_c_ends_all_waiting(tracking, outputs, client, tmp_path, lock):
    """With SQLite's own 20 seconds: the first Ctrl-C ends the call, the second the waiting at the run's end."""
    with pytest.raises(KeyboardInterrupt), start_run(tracking, outputs, name="run", folder=tmp_path) as run:  # noqa: PT012
        for seconds in (0.5, 1.5):
            threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()
        lock.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        run.log_metrics({"epoch/loss": 1.0}, step=1)
        run.log_params({"seed": 7})
    assert time.monotonic() - began < 5
    lock.rollback()
    unsent = json.loads((tmp_path / UNSENT_FILE).read_text())
    assert (unsent["status"], unsent["tags"]["thaw.reason"]) == ("KILLED", "KeyboardInterrupt")
    assert len(unsent["metrics"]) == 1


def test_a_run_waits_for_a_locked_store_before_it_starts(tracking, outputs, client, tmp_path, hasty, lock, capsys):
    lock.execute("BEGIN EXCLUSIVE")
    threading.Timer(3.0, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
    signal.signal(signal.SIGUSR1, lambda *_: lock.rollback())
    with start_run(tracking, outputs, name="run", folder=tmp_path) as run:
        pass
    assert client.get_run(run.id).info.status == "FINISHED"
    assert f"waiting for {tracking.uri}" in capsys.readouterr().out


@pytest.mark.slow  # 35 seconds
def test_a_lock_of_30_seconds_by_another_process_loses_no_metric(tracking, outputs, client, tmp_path):
    hold = "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN EXCLUSIVE'); time.sleep(30)"
    with start_run(tracking, outputs, name="run", folder=tmp_path) as run:
        run.log_metrics({"epoch/loss": 1.0}, step=1)
        run.flush()
        locker = subprocess.Popen([sys.executable, "-c", hold, str(outputs / "mlflow.db")])
        for step, loss in EPOCHS[1:]:
            time.sleep(1.0)
            run.log_metrics({"epoch/loss": loss}, step=step)
        assert locker.poll() is None
        run.log_params({"seed": 7})
    assert locker.wait() == 0
    assert history(client, run.id) == EPOCHS
    assert client.get_run(run.id).data.params == {"seed": "7"}


class Server:
    """MLflow's own server in threads of this process, on one port whenever it is up."""

    def __init__(self, uri: str, artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", uri)
        monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(artifacts))
        self.port, self._server = 0, None
        self.up()

    def up(self) -> None:
        from mlflow.server import app
        from werkzeug.serving import make_server

        self._server = make_server("127.0.0.1", self.port, app, threaded=True)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def down(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_server_that_restarts_has_it_all(outputs, client, tmp_path, monkeypatch, tracking):
    server = Server(tracking.uri, tmp_path / "artifacts", monkeypatch)
    there = TrackingConfig(uri=f"http://127.0.0.1:{server.port}")
    with start_run(there, outputs, name="run", folder=tmp_path) as run:
        train(run, EPOCHS[:3])
        run.flush()
        server.down()
        train(run, EPOCHS[3:])
        until((tmp_path / UNSENT_FILE).exists)
        threading.Timer(1.0, server.up).start()
        run.log_params({"seed": 7})
        run.log_text("hello", "note.txt")
    server.down()
    assert history(client, run.id) == EPOCHS
    assert client.get_run(run.id).data.params == {"seed": "7"}
    assert client.get_run(run.id).info.status == "FINISHED"


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413])
def test_a_server_that_refuses_is_asked_once(status):
    from mlflow.utils.rest_utils import verify_rest_response
    from requests import Response

    for body in (b"no", b'{"error_code": "INTERNAL_ERROR", "message": "no"}'):
        response = Response()
        response.status_code, response._content = status, body
        with pytest.raises(Exception, match="no") as error:
            verify_rest_response(response, "/api/2.0/mlflow/runs/log-batch")
        assert not retry.is_transient(error.value)


def test_what_is_logged_while_a_batch_is_on_its_way_is_sent_after_it(tracking, outputs, client, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    log_batch, on_its_way, go = MlflowClient.log_batch, threading.Event(), threading.Event()

    def slow(self, *arguments, **named):
        log_batch(self, *arguments, **named)
        on_its_way.set()
        assert go.wait(20)

    monkeypatch.setattr(MlflowClient, "log_batch", slow)
    with start_run(tracking, outputs, name="run", folder=tmp_path) as run:
        train(run, EPOCHS[:1])
        assert on_its_way.wait(20)
        train(run, EPOCHS[1:])
        go.set()
    assert history(client, run.id) == EPOCHS
    assert client.get_run(run.id).data.tags["thaw.stage"] == "stage 10"

"""A store that refuses in the middle ends no training: a real MLflow server behind a proxy, and deleted runs."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from thaw.common.errors import UserError
from thaw.config.schema import TrackingConfig
from thaw.tracking import retry, write_queue
from thaw.tracking.mlflow_store import open_store
from thaw.tracking.retry import StoreRefused
from thaw.tracking.run_lookup import find_run
from thaw.tracking.tracked_run import start_run
from thaw.tracking.unsent_file import UNSENT_FILE

EPOCHS = [(epoch, 1 / epoch) for epoch in range(1, 11)]


class Proxy:
    """Passes requests on to a server until `answer` is set: a status, a content type and a body."""

    def __init__(self, port: int) -> None:
        self.answer: tuple[int, str, bytes] | None = None
        self.only = ""  # of the path, which requests `answer` is for
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if outer.answer and outer.only in self.path:
                    outer.asked += 1
                    status, kind, text = outer.answer
                else:
                    there = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                    headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "content-length")}
                    there.request(self.command, self.path, body, headers)
                    answer = there.getresponse()
                    status, kind, text = answer.status, answer.getheader("Content-Type", "text/plain"), answer.read()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None: ...

        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.pass_on)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.uri = f"http://127.0.0.1:{self.server.server_port}"


EXPIRED = {
    401: (401, "text/plain", b"You are not authenticated. Please see the documentation"),
    403: (403, "application/json", b'{"error_code": "PERMISSION_DENIED", "message": "Permission denied"}'),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory, empty_store):
    """A real `mlflow server`, on a port of its own."""
    import shutil

    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder / "mlflow.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    log = (folder / "log").open("w")
    server = subprocess.Popen(
        command, stdout=log, stderr=log, env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}, start_new_session=True
    )
    ends = time.monotonic() + 90
    while time.monotonic() < ends:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
            break
        except OSError:
            time.sleep(0.2)
    yield port
    os.killpg(server.pid, 15)
    server.wait()
    log.close()


@pytest.fixture
def proxy(served):
    made = Proxy(served)
    yield made
    made.server.shutdown()
    made.server.server_close()


def train(run, epochs=EPOCHS) -> None:
    for step, loss in epochs:
        run.log_metrics({"epoch/loss": loss}, step=step)


def history(uri, outputs, run_id):
    return find_run(uri, outputs, run_id).metric_history("epoch/loss")


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_expires_in_the_middle_loses_no_training(proxy, outputs, tmp_path, capsys, status):
    there = TrackingConfig(uri=proxy.uri)
    folder = tmp_path / "run"
    ended = pytest.raises(UserError, match=r"could not be closed as FINISHED .*Has the token expired")
    with ended as error, start_run(there, outputs, name="run", folder=folder) as run:
        train(run, EPOCHS[:3])
        run.flush()
        proxy.answer = EXPIRED[status]
        train(run, EPOCHS[3:])
        run.flush()
        (folder / "report").mkdir()
        (folder / "report" / "curves.csv").write_text("a,b")
        run.log_artifact(folder / "report", "report")
        run.log_params({"late": 1})
        run.log_dataset("photos", "d" * 64, "photos", profile={"images": 3})
        run.log_objective("val/accuracy", 0.75)
        trained = True
    assert trained
    assert f"What was not sent is in {folder / UNSENT_FILE}: the next start of train.py with that tracking.uri" in str(
        error.value
    )
    assert capsys.readouterr().out.count("Training continues") == 1
    assert proxy.asked < 10, "not asked again and again"
    unsent = json.loads((folder / UNSENT_FILE).read_text())
    assert (unsent["status"], len(unsent["metrics"])) == ("FINISHED", 8)

    proxy.answer = None
    with start_run(there, outputs, name="next", folder=tmp_path / "next"):
        pass
    stored = find_run(proxy.uri, outputs, run.id)
    assert (stored.status, stored.metrics["objective"]) == ("FINISHED", 0.75)
    assert stored.metric_history("epoch/loss") == dict(EPOCHS)
    assert stored.artifact_path("report/curves.csv").read_text() == "a,b"
    assert len(stored._store.client.get_run(run.id).inputs.dataset_inputs) == 1
    assert not (folder / UNSENT_FILE).exists()


def test_what_is_refused_before_the_work_ends_the_run_at_once(proxy, outputs, tmp_path):
    there = TrackingConfig(uri=proxy.uri)
    proxy.answer, proxy.only = EXPIRED[403], "log-batch"
    refused = pytest.raises(StoreRefused, match="refused: PERMISSION_DENIED")
    with refused, start_run(there, outputs, name="run", folder=tmp_path / "run") as run:
        run.set_tags({"a": "b"})
        run.flush()
        pytest.fail("the work must not begin")
    assert find_run(proxy.uri, outputs, run.id).status == "FAILED"


def test_a_file_that_a_server_does_not_take_stays_in_the_folder_and_the_rest_is_there(proxy, outputs, tmp_path):
    there, folder = TrackingConfig(uri=proxy.uri), tmp_path / "run"
    ended = pytest.raises(UserError, match=r"run .* 413")
    with ended, start_run(there, outputs, name="run", folder=folder) as run:
        run.flush()
        proxy.answer, proxy.only = (413, "text/html", b"too large"), "/mlflow-artifacts/"
        (folder / "network.keras").write_text("weights")
        run.log_artifact(folder / "network.keras")
        train(run)
        run.flush()
        assert len(history(proxy.uri, outputs, run.id)) == 10
    assert json.loads((folder / UNSENT_FILE).read_text())["files"] == [["network.keras", None]]
    stored = find_run(proxy.uri, outputs, run.id)
    assert stored.status == "FINISHED", "its end is taken, and no later start asks again"
    assert stored.metric_history("epoch/loss") == dict(EPOCHS)


def test_a_token_that_is_renewed_in_the_middle_leaves_nothing_behind(proxy, outputs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(write_queue, "_REFUSED_RETRY_SECONDS", 0.2)
    with start_run(TrackingConfig(uri=proxy.uri), outputs, name="run", folder=tmp_path) as run:
        run.flush()
        proxy.answer = EXPIRED[401]
        train(run)
        run.flush()
        (tmp_path / "manifest.csv").write_text("a,b")
        run.log_artifact(tmp_path / "manifest.csv")
        proxy.answer = None
    stored = find_run(proxy.uri, outputs, run.id)
    assert (stored.status, stored.metric_history("epoch/loss")) == ("FINISHED", dict(EPOCHS))
    assert stored.artifact_path("manifest.csv").read_text() == "a,b"
    assert not (tmp_path / UNSENT_FILE).exists()


@pytest.mark.parametrize("what", ["run", "experiment"])
def test_a_run_that_is_deleted_in_the_middle_trains_to_its_end_and_is_sent_once_restored(
    tracking, outputs, client, tmp_path, what
):
    ended = pytest.raises(UserError, match=r"could not be closed as FINISHED .*mlflow runs restore")
    with ended, start_run(tracking, outputs, name="run", folder=tmp_path / "run") as run:
        train(run, EPOCHS[:3])
        run.flush()
        client.delete_run(run.id) if what == "run" else client.delete_experiment(run.experiment_id)
        train(run, EPOCHS[3:])
        run.log_objective("val/accuracy", 0.75)
    assert len(json.loads((tmp_path / "run" / UNSENT_FILE).read_text())["metrics"]) == 8
    client.restore_run(run.id) if what == "run" else client.restore_experiment(run.experiment_id)
    with start_run(tracking, outputs, name="next", folder=tmp_path / "next"):
        pass
    assert find_run(tracking.uri, outputs, run.id).status == "FINISHED"
    assert history(tracking.uri, outputs, run.id) == dict(EPOCHS)


def test_a_dead_run_that_cannot_be_closed_keeps_no_other_from_starting(
    tracking, outputs, client, tmp_path, start_process, monkeypatch, capsys
):
    dead = start_process(outputs, tmp_path / "dead")
    dead.kill()
    from mlflow import MlflowClient
    from mlflow.exceptions import RestException

    original = MlflowClient.set_tag

    def set_tag(self, run_id, *arguments):
        if run_id == dead.id:
            raise RestException({"error_code": "PERMISSION_DENIED", "message": "of another user"})
        return original(self, run_id, *arguments)

    monkeypatch.setattr(MlflowClient, "set_tag", set_tag)
    with start_run(tracking, outputs, name="next", folder=tmp_path / "next"):
        pass
    assert f"run {dead.id} (run) ended, and cannot be closed" in capsys.readouterr().out


def test_a_store_that_stays_away_loses_no_training_and_is_waited_for_once(proxy, outputs, tmp_path, monkeypatch):
    monkeypatch.setattr(retry, "RETRY_SECONDS", 2.0)
    folder = tmp_path / "run"
    ended = pytest.raises(UserError, match=r"could not be closed as FINISHED .*503.*unsent\.json")
    with ended, start_run(TrackingConfig(uri=proxy.uri), outputs, name="run", folder=folder) as run:
        run.flush()
        proxy.answer = (503, "text/html", b"maintenance")
        train(run)
        began = time.monotonic()
        (folder / "manifest.csv").write_text("a,b")
        for _ in range(5):
            run.log_artifact(folder / "manifest.csv")
        run.log_objective("val/accuracy", 0.75)
    assert time.monotonic() - began < 8
    proxy.answer = None
    open_store(proxy.uri, outputs)
    with start_run(TrackingConfig(uri=proxy.uri), outputs, name="next", folder=tmp_path / "next"):
        pass
    assert find_run(proxy.uri, outputs, run.id).metrics["objective"] == 0.75
    assert history(proxy.uri, outputs, run.id) == dict(EPOCHS)

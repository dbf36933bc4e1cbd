"""A file or a server that is no store of this MLflow is told in one line, at once, with the remedy."""

import http.server
import json
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from mlflow.store.db.utils import _get_latest_schema_revision

from thaw.common.errors import UserError
from thaw.tracking import store_schema
from thaw.tracking.mlflow_store import open_store


def alter(database, *statements):
    with closing(sqlite3.connect(database)) as file, file:
        for statement in statements:
            file.execute(statement)


def older(file):
    alter(file, "UPDATE alembic_version SET version_num = '451aebb31d03'")


def newer(file):
    alter(file, "UPDATE alembic_version SET version_num = 'ffffffffffff'")


def another_programs(file):
    file.unlink()
    alter(file, "CREATE TABLE photos (name)")


def truncated(file):
    file.write_bytes(file.read_bytes()[:50_000])


def overwritten(file):
    content = bytearray(file.read_bytes())
    content[8192:40960] = b"\xff" * 32768
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (older, "are those of an older MLflow than .* Make a copy of it, then: mlflow db upgrade 'sqlite:///"),
        (newer, "are those of a newer MLflow than .* Install that MLflow here"),
        (another_programs, "is the database of another program"),
        (truncated, "Put a copy of it back"),
        (overwritten, "Put a copy of it back"),
    ],
)
def test_a_database_of_another_kind_or_version_is_told_with_the_remedy(outputs, damage, message):
    damage(outputs / "mlflow.db")
    before = (outputs / "mlflow.db").read_bytes()
    began = time.monotonic()
    with pytest.raises(UserError, match=message) as error:
        open_store(f"sqlite:///{outputs}/mlflow.db", outputs)
    assert time.monotonic() - began < 2
    assert "\n" not in str(error.value)
    assert (outputs / "mlflow.db").read_bytes() == before


def test_the_newest_step_is_the_one_that_mlflow_goes_by():
    migrations = store_schema._migrations()
    assert migrations.keys() - set(migrations.values()) == {_get_latest_schema_revision()}


def test_a_database_is_upgraded_by_the_command_that_is_printed(outputs):
    file = outputs / "mlflow.db"
    open_store(f"sqlite:///{file}", outputs)
    last = _get_latest_schema_revision()
    subprocess.run(  # one step back, as an older MLflow left it
        [sys.executable, "-c", DOWN, f"sqlite:///{file}", store_schema._migrations()[last]],
        check=True,
        capture_output=True,
    )
    with pytest.raises(UserError) as error:
        open_store(f"sqlite:///{file}", outputs)
    command = str(error.value).partition("then: ")[2].replace("mlflow", f"{sys.executable} -m mlflow", 1)
    subprocess.run(command, shell=True, check=True, capture_output=True, timeout=120)
    assert open_store(f"sqlite:///{file}", outputs).experiment_id("thaw")


DOWN = """
import sys, alembic.command, mlflow.store.db.utils as utils
alembic.command.downgrade(utils._get_alembic_config(sys.argv[1]), sys.argv[2])
"""


def test_an_empty_file_becomes_a_store(outputs):
    (outputs / "mlflow.db").write_bytes(b"")
    assert open_store(f"sqlite:///{outputs}/mlflow.db", outputs).experiment_id("thaw")


@pytest.fixture
def answers():
    """A server that gives every request the same answer: `answers(status, type, body)` returns its URI."""
    servers = []

    def serve(status, kind, body):
        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_): ...

        for method in ("GET", "POST"):
            setattr(Handler, f"do_{method}", Handler.answer)
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


DENIED = json.dumps({"error_code": "PERMISSION_DENIED", "message": "no"}).encode()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, "text/html", b"<html>\n<body>"), "what answers there is no MLflow server"),
        ((200, "application/json", b"[]"), "what answers there is no MLflow server"),
        ((404, "text/html", b"<html>"), "what answers there is no MLflow server"),
        ((405, "text/html", b"<html>"), "what answers there is no MLflow server"),
        ((501, "text/html", b"<html>"), "what answers there is no MLflow server"),  # python -m http.server
        ((302, "text/html", b""), "what answers there is no MLflow server"),
        ((500, "text/html", b"<html>"), "too many 500 error responses. The server's own log says why"),
        ((401, "text/plain", b"who are you"), "Has the token expired"),
        ((403, "application/json", DENIED), "PERMISSION_DENIED: no. Has the token expired"),
    ],
)
def test_a_server_that_is_no_mlflow_server_is_named_at_once(answers, tmp_path, answer, message):
    uri = answers(*answer)
    began = time.monotonic()
    with pytest.raises(UserError, match=message) as error:
        open_store(uri, tmp_path)
    assert str(error.value).startswith(f"tracking.uri={uri} cannot be used: ")
    assert "\n" not in str(error.value)
    assert time.monotonic() - began < 10


def test_a_copy_of_a_store_is_still_one(outputs, tmp_path):
    shutil.copy(outputs / "mlflow.db", tmp_path / "it's 50 # copy.db")
    assert open_store(f"sqlite:///{tmp_path}/it's 50 # copy.db", tmp_path).experiment_id("thaw")

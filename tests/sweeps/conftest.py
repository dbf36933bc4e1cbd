"""A plan, a ledger and a worker, without a run behind them; a PostgreSQL server."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from thaw.sweeps.ledger import Ledger
from thaw.sweeps.plan import SweepPlan
from thaw.sweeps.space import parse_space

PLAN = SweepPlan(
    name="sweep digits", arguments=("dataset=digits",), hydra_arguments=(), parameters=(), sampler="random", trials=6,
    pruner="none", pruner_warmup=1, objectives=(("objective", "maximize"),), seed=0, retries=1, reuse=True, epochs=8,
    folder="sweep", cwd=".", tracking_uri="sqlite:///mlflow.db", outputs="outputs", parent_run_id="parent",
)  # fmt: skip
GRID = "{optimizer.learning_rate: [1e-3,1e-2], finetune.freeze: [block3b,all]}"
INTERVALS = "{optimizer.learning_rate: log(1e-5,1e-2), head.dropout: uniform(0,0.5)}"


@pytest.fixture
def make_ledger(tmp_path: Path):
    """Makes a ledger in a SQLite file: `make_ledger(space, sampler="tpe")`; the other keys are those of SweepPlan."""

    def make(space: str, name: str = "study", **changes) -> Ledger:
        plan = replace(PLAN, parameters=tuple(parse_space(space)), **changes)
        return Ledger.create(f"sqlite:///{tmp_path}/sweeps.db", name, plan)

    return make


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Callable[[str], str]]:
    """Makes a database of a PostgreSQL server of the module's own, on loopback: `postgresql("name")` is its URL."""
    initdb = _find_program("initdb")
    if initdb is None:
        pytest.skip("PostgreSQL's server is not installed: apt-get install postgresql")
    pytest.importorskip("psycopg2")
    folder = Path(tempfile.mkdtemp(prefix="thaw-postgresql-"))  # pytest's own folders are closed to other users
    as_user = []
    if os.getuid() == 0:  # which PostgreSQL refuses to run as
        if shutil.which("runuser") is None:
            pytest.skip("PostgreSQL does not run as root, and there is no runuser to become another user")
        shutil.chown(folder, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = {"cwd": folder, "check": True, "capture_output": True}
    subprocess.run([*as_user, initdb, "-D", folder / "data", "-A", "trust", "-U", "thaw", "-N"], **run)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    server = [*as_user, initdb.with_name("pg_ctl"), "-D", folder / "data", "-w", "-l", folder / "data" / "log"]
    subprocess.run([*server, "-o", options, "start"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    try:
        yield partial(_new_database, f"postgresql://thaw@127.0.0.1:{port}")
    finally:
        subprocess.run([*server, "-m", "immediate", "stop"], **run)
        shutil.rmtree(folder)


def _find_program(name: str) -> Path | None:
    """A program of PostgreSQL's server, which Debian keeps out of PATH."""
    places = [Path(found) for found in [shutil.which(name)] if found]
    places += sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return next(iter(places), None)


def _new_database(server: str, name: str) -> str:
    import psycopg2

    connection = psycopg2.connect(f"{server}/postgres")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    connection.close()
    return f"{server}/{name}"

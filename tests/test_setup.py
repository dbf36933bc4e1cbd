"""scripts/setup.sh: which Python it takes, and what it installs. Stand-ins say what they were asked for."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")

# A Python that fits or not, and makes a venv whose own Python notes what pip is told.
PYTHON = """#!/bin/sh
[ "$1" = -c ] && exit {fits}
mkdir -p "$3/bin"
printf '#!/bin/sh\\necho "{name} $*" >> "%s/log"\\n' "$3" > "$3/bin/python"
chmod +x "$3/bin/python"
"""


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "setup.sh", tmp_path / "scripts")
    for lock in ("requirements.lock", "requirements-gpu.lock"):
        (tmp_path / lock).write_text("a lock\n")
    return tmp_path


def set_up(checkout: Path, pythons: dict[str, bool], **variables: str) -> subprocess.CompletedProcess:
    programs = checkout / "programs"
    shutil.rmtree(programs, ignore_errors=True)
    programs.mkdir()
    for name, fits in pythons.items():
        (programs / name).write_text(PYTHON.format(name=name, fits=0 if fits else 1))
        (programs / name).chmod(0o755)
    for tool in ("bash", "sh", "mkdir", "chmod", "cp", "cmp", "dirname", "cat"):
        (programs / tool).symlink_to(shutil.which(tool))
    command = ["bash", "-c", f"source {checkout}/scripts/setup.sh"]
    return subprocess.run(
        command, env={"PATH": str(programs), **variables}, capture_output=True, text=True, check=False
    )


def log(checkout: Path) -> list[str]:
    return (checkout / ".venv" / "log").read_text().splitlines()


def test_a_python_that_tensorflow_has_wheels_for_is_taken_though_a_newer_one_comes_first(checkout) -> None:
    done = set_up(checkout, {"python3": False, "python3.13": False, "python3.12": True})
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in log(checkout)] == ["python3.12"]
    assert f"-r {checkout}/requirements.lock" in log(checkout)[0]


def test_without_one_the_versions_are_named(checkout) -> None:
    done = set_up(checkout, {"python3": False})
    assert (done.returncode, done.stdout) == (1, "")
    assert "thaw needs Python 3.11, 3.12 or 3.13" in done.stderr
    done = set_up(checkout, {"python3": True, "python3.14": False}, PYTHON="python3.14")
    assert done.returncode == 1
    assert done.stderr.startswith("PYTHON=python3.14 is not Python 3.11, 3.12 or 3.13")


def test_cudas_libraries_are_installed_once_and_only_when_asked_for(checkout) -> None:
    assert set_up(checkout, {"python3": True}).returncode == 0
    assert len(log(checkout)) == 1
    for _ in range(2):
        assert set_up(checkout, {"python3": True}, THAW_GPU="1").returncode == 0
    assert len(log(checkout)) == 2
    assert f"-r {checkout}/requirements-gpu.lock --no-deps" in log(checkout)[1]


def test_the_pythons_that_set_up_takes_are_those_of_the_package() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert "(3, 11) <= sys.version_info[:2] <= (3, 13)" in (ROOT / "scripts" / "setup.sh").read_text()

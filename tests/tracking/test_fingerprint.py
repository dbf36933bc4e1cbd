import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

import thaw
from thaw.tracking import fingerprint
from thaw.tracking.fingerprint import collect_fingerprint, fingerprint_differences


@pytest.fixture
def checkout(tmp_path):
    def git(*arguments):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True, capture_output=True)

    git("init")
    git("config", "user.name", "somebody")
    git("config", "user.email", "somebody@example.org")
    (tmp_path / "code.py").write_text("a = 1\n")
    (tmp_path / ".gitignore").write_text("outputs\n")
    git("add", ".")
    git("commit", "-m", "first")
    return tmp_path


def test_a_clean_checkout_is_its_commit(checkout):
    (checkout / "outputs").mkdir()
    (checkout / "outputs" / "ignored.txt").touch()
    fingerprint = collect_fingerprint(checkout)
    head = subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert (fingerprint.commit, fingerprint.dirty, fingerprint.diff) == (head.stdout.strip(), False, "")


def test_changed_and_new_files_are_in_the_diff(checkout):
    (checkout / "code.py").write_bytes(b"a = '\xff'\n")
    (checkout / "new.py").touch()
    (checkout / "notes.txt").touch()
    fingerprint = collect_fingerprint(checkout)
    assert fingerprint.dirty
    assert "-a = 1" in fingerprint.diff
    assert fingerprint.diff.endswith(f"untracked: new.py {hashlib.sha256().hexdigest()}\nuntracked: notes.txt\n")
    assert fingerprint.entries()["git.dirty"] == "True"


def test_two_states_of_one_commit_are_told_apart_by_their_code(checkout):
    states = [collect_fingerprint(checkout)]
    for file, content in (
        ("code.py", b"a = 2\n"),
        ("code.py", b"a = 3\n"),
        ("caf\u00e9.yaml", b"a: 1"),
        ("caf\u00e9.yaml", b"a: 2"),
        ("notes.txt", b"of no account"),
    ):
        (checkout / file).write_bytes(content)
        states.append(collect_fingerprint(checkout))
    hashes = [state.entries().get("git.diff_sha256") for state in states]
    assert hashes[0] is None
    assert len(set(hashes[:5])) == 5
    assert hashes[5] == hashes[4]
    assert collect_fingerprint(checkout).diff_sha256 == hashes[5]


def test_differences_say_what_it_was_and_what_it_is():
    recorded = {"package.keras": "3.15.1", "package.numpy": "2.0", "env.OMP_NUM_THREADS": "2", "git.dirty": "False"}
    now = {"package.keras": "3.15.2", "package.numpy": "2.0", "git.dirty": "True", "git.diff_sha256": "d"}
    assert [difference.line() for difference in fingerprint_differences(recorded, now)] == [
        "package.keras: 3.15.1 in the run, 3.15.2 now",
        "env.OMP_NUM_THREADS: 2 in the run, None now",
        "git.dirty: False in the run, True now",
        "git.diff_sha256: None in the run, d now",
    ]


def test_what_is_not_known_yet_is_no_difference(tmp_path):
    now = collect_fingerprint(tmp_path).entries()
    full = {**now, "data_sha256": "d", "weights_sha256": "w", "seed": "7"}
    assert fingerprint_differences(full, now) == []
    assert [d.key for d in fingerprint_differences(full, {**full, "data_sha256": "e"})] == ["data_sha256"]


def test_no_checkout_and_no_git_are_no_error(tmp_path, monkeypatch):
    assert collect_fingerprint(tmp_path).commit is None
    monkeypatch.setenv("PATH", str(tmp_path))
    fingerprint = collect_fingerprint(tmp_path)
    assert (fingerprint.commit, fingerprint.dirty, fingerprint.diff) == (None, False, "")
    assert "git.commit" not in fingerprint.entries()


def test_versions_machine_and_settings_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    fingerprint = replace(collect_fingerprint(tmp_path), seed=7)
    entries = fingerprint.entries()
    assert entries["package.keras"] == version("keras")
    assert entries["package.pillow"] == version("pillow")
    assert "package.openvino" not in entries or version("openvino")
    assert entries["env.OMP_NUM_THREADS"] == "3"
    assert entries["seed"] == "7"
    assert entries["cpu.model"]
    assert int(entries["cpu.count"]) >= 1
    assert all(isinstance(value, str) for value in entries.values())


def test_benchmark_results_keep_the_names_of_the_fields(tmp_path):
    from thaw_lab import machine

    fields = {"cpu", "cpus", "cpu_flags", "platform", "python", "packages", "settings", "commit", "dirty"}
    assert fields <= machine.describe_machine(tmp_path).keys()


def test_taking_a_fingerprint_imports_no_package_it_names(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(Path(thaw.__file__).parents[1])}  # thaw is not installed
    code = """
import sys
from thaw.tracking.fingerprint import collect_fingerprint, fingerprint_differences
collect_fingerprint(".")
print("tensorflow" in sys.modules, "numpy" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]


def test_an_installed_package_records_its_version_and_no_checkout_around_it(checkout, monkeypatch):
    monkeypatch.setattr(fingerprint, "version", lambda name: "1.2.3" if name == "thaw" else version(name))
    entries = collect_fingerprint(None).entries()
    assert entries["package.thaw"] == "1.2.3"
    assert not [key for key in entries if key.startswith("git.")]
    assert "package.thaw" not in collect_fingerprint(checkout).entries()

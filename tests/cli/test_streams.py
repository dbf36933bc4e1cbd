"""Commands whose output nobody reads any more, or that cannot be written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from thaw.cli import streams

from ..conftest import ROOT


def unread(commands, script: str, *arguments: str) -> tuple[int, str]:
    """Exit code and standard error of a command whose output went to a pipe that nobody reads."""
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        ran = subprocess.run(
            [sys.executable, str(ROOT / script), *arguments],
            cwd=commands.folder, env=commands.env, stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=300,
        )  # fmt: skip
    finally:
        os.close(theirs)
    return ran.returncode, ran.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("scripts/predict.py", "--help"),
        ("train.py", "--help"),
        ("train.py", "--cfg=job"),
        ("train.py", "--hydra-help"),
        ("scripts/layers.py", "backbone=efficientnet_lite0", "backbone.weights=none", "format=csv"),
        ("scripts/layers.py", "backbone=efficientnet_lite0", "backbone.weights=none"),
    ],
    ids=" ".join,
)
def test_an_output_that_nobody_reads_ends_a_command_quietly(commands, command) -> None:
    code, said = unread(commands, *command)
    assert code == 141
    assert "Traceback" not in said
    assert "BrokenPipe" not in said


def test_a_mistake_keeps_its_exit_code_when_nobody_reads(commands) -> None:
    code, said = unread(commands, "scripts/predict.py", "modell=x")
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith("error: modell")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a system without /dev/full")
def test_a_help_that_cannot_be_written_is_one_error(commands) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, str(ROOT / "train.py"), "--help"], env=commands.env, stdout=full, stderr=subprocess.PIPE
        )
    assert (ran.returncode, ran.stderr) == (1, b"error: standard output: no space left on device\n")


def test_another_broken_pipe_keeps_its_traceback() -> None:
    def fails() -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        streams.exit_quietly_on_broken_pipe(fails)()

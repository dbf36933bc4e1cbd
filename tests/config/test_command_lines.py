"""Commands that are printed work as printed: they are run here, by a shell. And streams that are closed."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from thaw.cli.argument_quoting import quote, quote_texts, unquote
from thaw.config import command_lines as printed
from thaw.config.schema import Config

ROOT = Path(__file__).parent.parent.parent
DEFAULT = f"sqlite:///{ROOT}/outputs/mlflow.db"


class Shell:
    """A shell in a folder of its own, whose `python` is this one; nothing says where thaw's outputs are."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self.env = {k: v for k, v in env.items() if k not in ("THAW_OUTPUTS", "MLFLOW_TRACKING_URI")}
        self.env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
        self.train = os.path.relpath(ROOT / "train.py", folder)

    def start(self, command: str) -> subprocess.Popen:
        return subprocess.Popen(
            ["sh", "-c", command], cwd=self.folder, env=self.env, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, command: str) -> tuple[int, str, str]:
        process = self.start(command)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err


@pytest.fixture(scope="module")
def shell(tmp_path_factory, commands) -> Shell:
    return Shell(tmp_path_factory.mktemp("it's a shell's folder"), commands.env)


ELSEWHERE = "outputs='my out' tracking.uri='sqlite:///a store.db' tracking.log_model=false"


def line(out: str, start: str) -> str:
    return next(line for line in out.splitlines() if line.startswith(start)).removeprefix(start)


@pytest.mark.slow
def test_with_errors_and_input_closed_a_run_trains_and_its_predict_line_works(shell: Shell, photos: Path) -> None:
    code, out, _ = shell.run(
        f"python {shell.train} dataset=digits dataset.limit_per_class=5 recipe=bottleneck backbone.image_size=32 "
        f"bottleneck.epochs=1 {ELSEWHERE} 2>&- <&-"
    )
    assert code == 0, out
    command = line(out, "predict: ").replace("'FOLDER/*.jpg'", shlex.quote(f"{photos}/apple/0*.jpg"))
    assert command.startswith(f"python {shlex.quote(os.path.relpath(ROOT / 'scripts' / 'predict.py', shell.folder))} ")
    code, out, err = shell.run(f"{command} format=csv top=1")
    assert code == 0, err
    assert len(out.splitlines()) == 11


def test_a_stopped_run_goes_on_by_the_line_that_it_prints(shell: Shell) -> None:
    command = f"python {shell.train} dataset=digits recipe=scratch scratch.epochs=1000 {ELSEWHERE}"
    for until in (" epoch 2 ", "resumed: stage"):  # begun, and resumed
        process = shell.start(f"exec {command}")
        said = []
        for text in process.stdout:
            said.append(text)
            if until in text:
                break
        process.send_signal(signal.SIGTERM)
        rest, err = process.communicate(timeout=60)
        assert until in "".join(said[-1:]), "".join(said) + err
        command = line(rest, "resume: ")


@pytest.mark.parametrize("closed", ["2>&-", "2>&- <&-"])
def test_with_standard_error_closed_a_mistake_is_said_on_standard_output(shell: Shell, closed: str) -> None:
    code, out, _ = shell.run(f"python {shell.train} bakbone=vgg16 {closed}")
    assert (code, out.startswith("error: bakbone is not a key. Did you mean 'backbone'?")) == (1, True)


def test_with_all_streams_closed_the_exit_code_says_it(shell: Shell) -> None:
    assert shell.run(f"python {shell.train} bakbone=vgg16 >&- 2>&- <&-") == (1, "", "")
    assert shell.run(f"python {shell.train} --help >&- 2>&- <&-") == (0, "", "")


@pytest.mark.parametrize(
    ("typed", "train", "predict"),
    [
        ("train.py", "python train.py", "python scripts/predict.py"),
        ("./train.py", "python train.py", "python scripts/predict.py"),
        ("../my thaw/train.py", "python '../my thaw/train.py'", "python '../my thaw/scripts/predict.py'"),
        ("/opt/thaw/scripts/explore.py", "python /opt/thaw/train.py", "python /opt/thaw/scripts/predict.py"),
        ("scripts/explore.py", "python train.py", "python scripts/predict.py"),
        ("explore.py", "python ../train.py", "python ../scripts/predict.py"),
        ("/home/me/mine.py", f"python {ROOT}/train.py", f"python {ROOT}/scripts/predict.py"),
    ],
)
def test_a_script_is_called_as_it_was_typed(monkeypatch, tmp_path: Path, typed: str, train: str, predict: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [typed, "seed=1"])
    assert (printed.script_command("train"), printed.script_command("predict")) == (train, predict)


def test_an_installed_thaw_is_called_as_it_was(monkeypatch, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "thaw"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(program), "seed=1"])
    assert printed.script_command("predict") == f"{program} predict"  # not on the path: by its place
    monkeypatch.setenv("PATH", str(program.parent))
    assert printed.script_command("predict") == "thaw predict"
    monkeypatch.setattr(sys, "argv", ["/site-packages/thaw/__main__.py"])
    assert printed.script_command("train") == "python -m thaw train"


def test_an_installed_thaws_default_store_is_that_of_its_working_directory(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(printed, "checkout_root", lambda: None)
    monkeypatch.setattr(sys, "argv", ["worker.py"])
    monkeypatch.chdir(tmp_path)
    here = f"sqlite:///{tmp_path}/outputs/mlflow.db"
    assert printed.run_id_command("predict", "model", "0123", tmp_path / "run", here) == "thaw predict model=0123"
    for uri in (DEFAULT, "http://host:5000"):
        command = printed.run_id_command("predict", "model", "0123", tmp_path / "run", uri)
        assert command == f"thaw predict model={shlex.quote(str(tmp_path / 'run'))}"


def test_a_run_in_the_default_store_is_named_by_its_id_another_by_its_folder(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])
    run_id, folder = "0" * 32, tmp_path / "it's here"
    assert printed.run_id_command("train", "resume", run_id, folder, DEFAULT) == f"python train.py resume={run_id}"
    for uri in ("http://host:5000", "postgresql://me:secret@host/db", f"sqlite:///{tmp_path}/mlflow.db"):
        command = printed.run_id_command("train", "resume", run_id, folder, uri)
        assert shlex.split(command) == ["python", "train.py", f"resume={folder}"]
    assert "secret" not in printed.mlflow_command("postgresql://me:secret@host/db", "runs restore")


@pytest.mark.parametrize("value", ["a b", "it's", "it's'", "back\\slash\\", "a\\'b", '"', "[x]", "2024_01", ""])
def test_what_is_quoted_for_hydra_is_read_back(value: str) -> None:
    assert unquote(quote(value)) == value
    if value and value[0] not in "'\"[":
        assert unquote(quote_texts([f"resume={value}"], Config, sweeps=False)[0].partition("=")[2]) == value

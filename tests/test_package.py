"""The wheel in an environment of its own, far from the checkout: the command `thaw` with conf/ inside."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

import thaw

from .conftest import ROOT


class Environment:
    """A fresh environment with thaw's wheel, an empty working directory, and nothing that says where thaw is."""

    def __init__(self, bin_dir: Path, folder: Path) -> None:
        self.bin_dir, self.folder = bin_dir, folder
        hidden = ("THAW_OUTPUTS", "PYTHONPATH", "MLFLOW_TRACKING_URI")
        self.env = {key: value for key, value in os.environ.items() if key not in hidden}
        self.env["PATH"] = f"{bin_dir}:{self.env['PATH']}"

    def run(self, command: str) -> tuple[int, str, str]:
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    source = tmp_path_factory.mktemp("source")
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    out = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(out), str(source)]
    subprocess.run(pip, check=True, capture_output=True)
    (built,) = out.glob("thaw-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory) -> Environment:
    """The dependencies are this environment's own, by a .pth file."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    return Environment(folder / "bin", tmp_path_factory.mktemp("an empty folder"))


def test_the_package_lists_every_room() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    rooms = {f"thaw.{file.parent.name}" for file in (ROOT / "src" / "thaw").glob("*/__init__.py")}
    plugins = {f"hydra_plugins.{file.parent.name}" for file in (ROOT / "src" / "hydra_plugins").glob("*/__init__.py")}
    assert set(packages) == {"thaw", "thaw.conf", *rooms, *plugins}


def test_the_wheel_carries_conf_and_the_licence_and_no_lab(wheel: Path) -> None:
    import zipfile

    names = zipfile.ZipFile(wheel).namelist()
    choices = {f"thaw/conf/{file.relative_to(ROOT / 'conf').as_posix()}" for file in (ROOT / "conf").rglob("*.yaml")}
    data = {"thaw/explore/page.html", "thaw/models/imagenet_classes.txt", "thaw/py.typed"}
    assert set(names) >= choices | data
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith("thaw_lab")]
    assert wheel.name.split("-")[1] == thaw.__version__


def test_the_command_lists_its_subcommands(installed: Environment) -> None:
    code, out, err = installed.run("thaw")
    assert (code, err) == (0, "")
    assert out.startswith("thaw COMMAND key=value ...")
    for name in ("train", "predict", "explore", "layers", "reproduce", "cache"):
        assert f"\n  {name} " in out
    assert installed.run("thaw --help | head -1")[1] == "thaw COMMAND key=value ...\n"
    assert installed.run("thaw --version") == (0, f"thaw {thaw.__version__}\n", "")
    assert installed.run("python -m thaw --version") == (0, f"thaw {thaw.__version__}\n", "")
    assert installed.run("thaw trian")[::2] == (
        1,
        "error: trian is not a command. Did you mean 'train'? "
        "Choose one of: train, predict, evaluate, export, explore, advise, extract, find_rate, find_batch, "
        "layers, serve, compare, reproduce, runs, cache\n",
    )


def test_a_mistake_in_a_subcommand_is_one_line(installed: Environment) -> None:
    for command, said in (
        ("thaw train bakbone=vgg16", "bakbone is not a key. Did you mean 'backbone'?"),
        ("thaw train backbone=inceptionv4", "Did you mean 'inceptionv3'?"),
        ("thaw predict imags=x", "imags is not a key. Did you mean 'images'?"),
        ("thaw layers --foo", "every argument is key=value. thaw layers --help"),
        ("python -m thaw layers --foo", "every argument is key=value. python -m thaw layers --help"),
    ):
        code, out, err = installed.run(command)
        assert (code, out, said in err, len(err.splitlines())) == (1, "", True, 1), err


def test_help_of_a_subcommand_says_thaw(installed: Environment) -> None:
    code, out, _ = installed.run("thaw train --help")
    assert (code, out.startswith("thaw train key=value ...\n")) == (0, True)
    assert "\n  thaw train experiment=quickstart\n" in out
    assert "python train.py" not in out
    assert installed.run("thaw cache --help")[1].startswith("thaw cache key=value ...\n")


def test_a_users_own_choices_serve_every_subcommand(installed: Environment) -> None:
    (installed.folder / "mine" / "backbone").mkdir(parents=True, exist_ok=True)
    (installed.folder / "mine" / "backbone" / "small.yaml").write_text("name: mobilenet\nalpha: 0.25\nweights: none\n")
    code, out, err = installed.run("thaw train --config-dir mine backbone=small --cfg job")
    assert (code, "alpha: 0.25" in out) == (0, True), err
    code, out, err = installed.run("thaw layers --config-dir=mine backbone=small format=csv")
    assert (code, out.splitlines()[-1].split(",")[4:]) == (0, ["0", "conv_pw_13", "1"]), err
    code, _, err = installed.run("thaw layers --config-dir=absent backbone=small")
    assert (code, err.startswith("error: --config-dir=absent is no folder")) == (1, True)


def test_training_and_prediction_in_an_empty_folder(installed: Environment, photos: Path) -> None:
    code, out, err = installed.run(
        "thaw train dataset=digits dataset.limit_per_class=5 recipe=bottleneck backbone.image_size=32 "
        "bottleneck.epochs=1"
    )
    assert code == 0, err
    (result,) = (installed.folder / "outputs" / "runs").glob("*/*/result.json")
    assert f"result {result.relative_to(installed.folder)}\n" in out
    assert (installed.folder / "outputs" / "mlflow.db").is_file()
    command = next(line for line in out.splitlines() if line.startswith("predict: ")).removeprefix("predict: ")
    assert command.startswith("thaw predict model=")
    command = command.replace("FOLDER/*.jpg", f"{photos}/apple/0*.jpg")
    code, out, err = installed.run(f"{command} format=csv top=1")
    assert (code, len(out.splitlines())) == (0, 11), err

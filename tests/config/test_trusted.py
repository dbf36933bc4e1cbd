"""Configs that would run something, as train.py meets them."""

import os
import pickle
import sys
import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from thaw.config import cli, trusted
from thaw.config.resume import Resumed
from thaw.config.schema import Config
from thaw.errors import UserError

from ..conftest import ROOT


def composed(*overrides: str):
    os.environ.setdefault("THAW_OUTPUTS", "outputs")
    ConfigStore.instance().store(name="schema", node=Config)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", list(overrides), return_hydra_config=True)


def test_thaws_own_config_passes_in_milliseconds() -> None:
    config = composed()
    started = time.perf_counter()
    trusted.check(config)
    assert time.perf_counter() - started < 0.1


@pytest.mark.parametrize("logging", ["default", "stdout", "disabled"])
def test_hydras_own_logging_passes(logging: str) -> None:
    trusted.check(composed(f"hydra/job_logging={logging}", f"hydra/hydra_logging={logging}".replace("stdout", "none")))


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("callbacks.x", {"_target_": "os.makedirs"}, "callbacks.x._target_=os.makedirs"),
        ("callbacks.x", {"a": [{"_target_": "os.makedirs"}]}, "callbacks.x.a[0]._target_=os.makedirs"),
        ("callbacks.sweep._target_", "os.makedirs", "callbacks.sweep._target_=os.makedirs"),
        ("sweeper._target_", "os.makedirs", "sweeper._target_=os.makedirs"),
        ("launcher.x", {"_target_": "os.makedirs"}, "launcher.x._target_=os.makedirs"),
        ("launcher._target_", "${augment.name}", "launcher._target_=${augment.name}"),
        ("callbacks.x", "${hydra.help}", "callbacks.x=${hydra.help}"),
        ("callbacks.x", "${oc.decode:'{a: b}'}", "callbacks.x=${oc.decode:"),
        ("callbacks", "${hydra:help}", "callbacks=${hydra:help}"),
        ("job_logging.handlers", {"x": {"class": "subprocess.Popen"}}, "job_logging.handlers.x.class=subprocess.Popen"),
        ("hydra_logging.filters", {"x": {"()": "os.makedirs"}}, "hydra_logging.filters.x.()=os.makedirs"),
        ("job.env_set", {"LD_PRELOAD": "x.so"}, "job.env_set.LD_PRELOAD"),
    ],
)
def test_whatever_hydra_would_call_is_refused(place: str, value: object, named: str) -> None:
    config = composed()
    OmegaConf.update(config, f"hydra.{place}", value, force_add=True)
    with pytest.raises(UserError) as caught:
        trusted.check(config)
    assert f"hydra.{named}" in str(caught.value)


def test_a_plugins_own_targets_pass_wherever_it_was_installed() -> None:
    store = ConfigStore.instance()
    config = composed("+hydra.sweeper.sampler={_target_: their.Sampler}")
    with pytest.raises(UserError, match=r"hydra\.sweeper\.sampler\._target_=their\.Sampler is refused"):
        trusted.check(config)
    store.store(group="hydra/sweeper", name="theirs", node={"sampler": {"_target_": "their.Sampler"}}, provider="them")
    try:
        trusted.check(config)
    finally:
        del store.repo["hydra"]["sweeper"]["theirs.yaml"]


@pytest.mark.parametrize(
    "argument",
    [
        "+hydra.callbacks.x._target_=os.makedirs",
        "+x={_target_: os.makedirs}",
        "--experimental-rerun=job.pickle",
        "--exp",
    ],
)
def test_an_argument_is_refused_by_name(argument: str) -> None:
    with pytest.raises(UserError, match="refused") as caught:
        trusted.check_arguments(["seed=1", argument])
    assert str(caught.value).startswith(argument)


def test_ordinary_arguments_pass() -> None:
    trusted.check_arguments(["-m", "dataset.path='/my/_target_/photos'", "hydra/launcher=joblib", "-", "--", "a"])


@pytest.mark.parametrize("where", ["experiment", "callbacks", "sweep"])
def test_a_strangers_file_runs_nothing_and_is_named(commands, tmp_path, where: str) -> None:
    made, folder = tmp_path / "made", tmp_path / "theirs"
    evil = f"{{_target_: os.makedirs, name: '{made}'}}"  # a callable that Hydra itself does not refuse
    name, *given = {
        "experiment": ("experiment/x.yaml", f"--config-dir={folder}"),
        "callbacks": ("hydra/callbacks/x.yaml", f"--config-dir={folder}"),
        "sweep": ("experiment/x.yaml", "-m", f"hydra.searchpath=[{folder}]", "seed=1,2"),
    }[where]
    file = folder / name
    file.parent.mkdir(parents=True)
    file.write_text(f"# @package _global_\nhydra: {{callbacks: {{x: {evil}}}}}\n")
    ran = commands.run(*given, f"{file.parent.relative_to(folder)}=x")
    assert ran.code == 1, ran.out
    assert ran.err.startswith(f"error: {file}: hydra."), ran.err
    assert "=os.makedirs is refused" in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not made.exists()


@pytest.mark.parametrize("argument", ["+hydra.callbacks.x._target_=os.makedirs", "--experimental-rerun=job.pickle"])
def test_an_argument_is_refused_before_hydra_sees_it(commands, argument: str) -> None:
    ran = commands.run("seed=1", argument)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"error: {argument}: refused")


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_the_stored_command_of_a_strangers_run_is_held_to_the_same_rule(monkeypatch, tmp_path) -> None:
    ran, file = tmp_path / "ran", tmp_path / "job.pickle"
    file.write_bytes(pickle.dumps(Touch(ran)))
    monkeypatch.setattr(cli, "resumed", lambda *_: Resumed("0123abcd", None, [f"--experimental-rerun={file}"]))
    monkeypatch.setattr(cli, "_prepare", lambda root: None)
    monkeypatch.setattr(sys, "argv", ["train.py", "resume=0123abcd"])
    with pytest.raises(SystemExit, match="refused, because the file is a pickle"):
        cli.train(ROOT)
    assert not ran.exists()

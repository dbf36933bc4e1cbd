"""Composing what Hydra asks for twice, once to check it and once to run it."""

import re
import subprocess
import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from thaw.cli import compose

ROOT = Path(__file__).resolve().parents[2]


class Loader:
    """Composes a config of what it is asked for, and counts."""

    def __init__(self) -> None:
        self.calls = 0

    def load(self, name: str, overrides: list[str]) -> DictConfig:
        self.calls += 1
        return OmegaConf.create({"name": name, "keys": {"overrides": overrides}})


def test_a_job_runs_with_the_config_that_was_checked_whatever_was_done_to_it_or_to_its_files() -> None:
    loader, load = Loader(), compose.compose_once(Loader.load)
    checked = load(loader, "config", overrides=["a=1"])
    expected = OmegaConf.to_container(checked)
    checked["keys"] = None
    assert OmegaConf.to_container(load(loader, "config", overrides=["a=1"])) == expected
    assert loader.calls == 1


def test_other_overrides_and_a_third_request_are_composed_anew() -> None:
    loader, load = Loader(), compose.compose_once(Loader.load)
    for request in ("a=1", "a=2", "a=1", "a=1"):
        assert load(loader, "config", overrides=[request])["keys"]["overrides"] == [request]
    assert loader.calls == 3


def test_a_sweep_of_any_number_of_jobs_holds_few_configs(monkeypatch) -> None:
    monkeypatch.setattr(compose, "_MAX_COMPOSED", 2)
    loader, load = Loader(), compose.compose_once(Loader.load)
    for _ in ("check", "run"):
        for job in range(5):
            load(loader, "config", overrides=[f"a={job}"])
    assert loader.calls == 5 + 3


def test_hydra_composes_each_job_of_a_sweep_once(tmp_path: Path) -> None:
    """Whatever version: it asks for a job with the same arguments when it checks it and when it runs it."""
    code = f"""
import sys
sys.path.insert(0, {str(ROOT / "src")!r})
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from thaw.cli import main, sweep_checks
load, requests = ConfigLoaderImpl.load_configuration, []
def counting(self, *args, **kwargs):
    requests.append(str(kwargs.get("overrides", args)))
    return load(self, *args, **kwargs)
ConfigLoaderImpl.load_configuration = counting
sweep_checks.check_sweep = lambda arguments: None  # composes the jobs before Hydra does
main.SweepCallback.on_multirun_start = main.SweepCallback.on_multirun_end = lambda *args, **kwargs: None
main._start = lambda checked: print("job", checked[0].seed) or sys.exit()
sys.argv = ["train.py", "-m", "hydra/sweeper=basic", "seed=71,72", "outputs={tmp_path}"]
try:
    main.train_command()
finally:
    print("composed", sum("seed=71'" in request for request in requests))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert re.search("^job 71$", done.stdout, re.MULTILINE), done.stderr
    assert "composed 1" in done.stdout.splitlines()

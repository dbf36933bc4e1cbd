"""Configs composed as Hydra would, with a stranger's file among them."""

import os
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore

from thaw.config.schema import Config

from ..conftest import ROOT


def composed(*overrides: str):
    os.environ.setdefault("THAW_OUTPUTS", "outputs")
    ConfigStore.instance().store(name="schema", node=Config)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", list(overrides), return_hydra_config=True)


def with_file(tmp_path: Path, text: str, *overrides: str):
    """Composed with an experiment file x."""
    file = tmp_path / "theirs" / "experiment" / "x.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"# @package _global_\n{text}")
    return composed(f"hydra.searchpath=[file://{tmp_path}/theirs]", "experiment=x", *overrides)

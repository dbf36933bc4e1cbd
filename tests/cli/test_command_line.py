"""Hydra's flags in any place of the command line."""

import pytest

from thaw.cli import command_line
from thaw.common.errors import UserError
from thaw.config import tool_schemas


def test_flags_may_stand_anywhere() -> None:
    read = command_line.parse_command_line(["seed=1", "-m", "augment=light,strong"])
    assert (read.to_argv(), read.is_sweep) == (["--multirun", "seed=1", "augment=light,strong"], True)
    assert command_line.parse_command_line(["seed=1", "hydra.mode=MULTIRUN"]).to_argv() == ["--multirun", "seed=1"]
    assert command_line.parse_command_line(["seed=1", "--multi"]).is_sweep
    assert command_line.parse_command_line(["seed=1", "--cfg", "job", "--resolve"]).to_argv() == [
        "--resolve",
        "--cfg=job",
        "seed=1",
    ]
    assert command_line.parse_command_line(["--info", "defaults"]).to_argv() == ["--info=defaults"]
    assert command_line.parse_command_line(["-sc", "query=bash"]).to_argv() == ["--shell-completion", "query=bash"]
    assert not command_line.parse_command_line(["seed=1"]).is_sweep


@pytest.mark.parametrize("argument", ["-m", "--multirun", "--cfg=job", "--config-dir=x", "~backbone", "seed = 3", "-"])
def test_a_flag_of_hydras_is_one_line_in_a_script(error_of, argument: str) -> None:
    assert error_of([argument], tool_schemas.LayersConfig).startswith(argument)


def test_several_networks_and_sides_are_the_first_of_them_and_a_list() -> None:
    assert command_line.several_networks(["seed=1", "backbone=a, b,c"]) == ["seed=1", "backbone=a", "networks=[a,b,c]"]
    assert command_line.several_networks(["backbone=a", "dataset.path=x,y"]) == ["backbone=a", "dataset.path=x,y"]
    with pytest.raises(UserError, match=r"backbone=a, has an empty value between its commas"):
        command_line.several_networks(["backbone=a,"])
    sides = command_line.several_networks(["backbone.image_size=96,64"])
    assert sides == ["backbone.image_size=96", "image_sizes=[96,64]"]

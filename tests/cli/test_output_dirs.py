"""Config files choose folders only inside outputs, and never one that holds files."""

import re
from pathlib import Path

import pytest

from thaw.cli import output_dirs
from thaw.common.errors import UserError

from .composing import composed, with_file


@pytest.mark.parametrize("name", ["../..", "/tmp/x", "a/b", "..", "."])
def test_hydras_notes_stay_in_the_runs_folder(name: str) -> None:
    with pytest.raises(UserError, match=r"hydra\.output_subdir=.* is refused: it is the name of one folder"):
        output_dirs.check_output_dirs(composed(f"hydra.output_subdir='{name}'"), [f"hydra.output_subdir={name}"], set())


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("hydra: {run: {dir: FOLDER}}", "hydra.run.dir"),
        ("hydra: {run: {dir: '${outputs}'}}", "hydra.run.dir"),
        ("hydra: {run: {dir: '${outputs}/../x'}}", "hydra.run.dir"),
        ("hydra: {run: {dir: '${outputs}/link/x'}}", "hydra.run.dir"),
        ("hydra: {run: {dir: '${outputs}/full'}}", "hydra.run.dir"),
        ("outputs: FOLDER\nhydra: {run: {dir: '${outputs}/outputs/full'}}", "hydra.run.dir"),
        ("hydra: {run: {dir: '${hydra:help}'}}", "hydra.run.dir"),
        ("hydra: {sweep: {dir: /x}}", "hydra.sweep.dir"),
        ("hydra: {sweep: {subdir: ../../x}}", "hydra.sweep.subdir"),
        ("hydra: {sweep: {subdir: /x}}", "hydra.sweep.subdir"),
    ],
)
def test_a_file_does_not_choose_a_folder_that_holds_a_users_files(tmp_path, text: str, key: str) -> None:
    outputs = tmp_path / "outputs"
    (outputs / "full").mkdir(parents=True)
    (outputs / "full" / "result.json").touch()
    (outputs / "link").symlink_to(tmp_path)
    config = with_file(tmp_path, text.replace("FOLDER", str(tmp_path)), f"outputs={outputs}")
    if text.startswith("outputs"):
        config.outputs = str(tmp_path)
    with pytest.raises(UserError, match=re.escape(f"{key}=") + ".* is refused from a file"):
        output_dirs.check_output_dirs(config, ["experiment=x"], set())


def test_a_file_chooses_a_new_folder_in_outputs(tmp_path) -> None:
    text = "hydra: {sweep: {dir: '${outputs}/mine', subdir: '${hydra.job.num}_${augment.name}'}}"
    config = with_file(tmp_path, text, f"outputs={tmp_path}/outputs")
    made = output_dirs.check_output_dirs(config, [], set())
    assert made == {tmp_path / "outputs" / "mine", tmp_path / "outputs" / "mine" / "0_none"}
    (tmp_path / "outputs" / "mine" / "0_none").mkdir(parents=True)
    assert output_dirs.check_output_dirs(config, [], made) == made  # of a sweep that runs


def test_the_command_line_chooses_any_folder(tmp_path) -> None:
    given = [f"hydra.run.dir={tmp_path}", "hydra.sweep.dir=/x", "hydra.sweep.subdir=y"]
    assert output_dirs.check_output_dirs(composed(*given), given, set()) == set()
    assert output_dirs.check_output_dirs(composed(), [], set()) == set()


@pytest.mark.parametrize("name", ["report", "checkpoints", "result.json"])
def test_hydras_notes_are_not_named_as_what_a_run_keeps(tmp_path: Path, name: str) -> None:
    config = with_file(tmp_path, f"hydra: {{output_subdir: {name}}}")
    with pytest.raises(UserError, match=f"hydra.output_subdir={name} is refused: a run keeps its own {name} there"):
        output_dirs.check_output_dirs(config, [], set())
    output_dirs.check_output_dirs(with_file(tmp_path, "hydra: {output_subdir: notes}"), [], set())

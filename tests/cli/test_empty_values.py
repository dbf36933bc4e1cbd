"""An empty value is an error that names the key, wherever it comes from."""

import dataclasses

import pytest

from thaw.config import schema, tool_schemas
from thaw.config.schema import Config
from thaw.config.schema_keys import dotted_keys, text_keys

from .conftest import TOOLS

TRAIN = [*dotted_keys(Config), "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "experiment"]


def test_every_schema_is_tried_with_empty_values() -> None:
    own = {
        each for module in (schema, tool_schemas) for each in vars(module).values() if dataclasses.is_dataclass(each)
    }
    inner = {field.default_factory for each in own for field in dataclasses.fields(each)} | {schema.StageConfig}
    assert own - inner == {*TOOLS, Config}


@pytest.mark.parametrize(
    ("script", "key"),
    [*((None, key) for key in TRAIN), *((script, key) for script in TOOLS for key in dotted_keys(script))],
    ids=str,
)
def test_an_empty_value_is_an_error_that_names_the_key(error_of, script: type | None, key: str) -> None:
    for value in ("", "' '") if key != "seed" else ("", " ", "''", "' '", '""'):
        assert error_of([f"{key}={value}"], script).startswith(f"{key}= is empty.")


@pytest.mark.parametrize(
    ("arguments", "script", "named"),
    [
        (["-m", "seed="], None, "seed="),
        (["-m", "dataset.path=a,,b"], None, "dataset.path="),
        (["-m", "tracking.experiment=choice(a,'')"], None, "tracking.experiment="),
        (["+dataset.path="], None, "dataset.path="),
        (["++dataset.path="], None, "dataset.path="),
        (["finetune.stages=[{name:''}]"], None, "finetune.stages="),
        (["outputs=${oc.env:NOTHING}"], None, "outputs="),
        (["hydra.run.dir=${oc.env:NOTHING}"], None, "hydra.run.dir="),
        (["tracking.experiment=${oc.env:NOTHING}"], None, "tracking.experiment="),
        (["--config-dir="], None, "--config-dir="),
        (["--config-dir", ""], None, "--config-dir="),
        (["images=[a.jpg,]"], tool_schemas.PredictConfig, "images="),
        (["images=[a.jpg,'']"], tool_schemas.PredictConfig, "images="),
        (["images=[]"], tool_schemas.PredictConfig, "images="),
        (["images=${oc.env:NOTHING}"], tool_schemas.PredictConfig, "images="),
        (["backbones=[]"], tool_schemas.BenchmarkConfig, "backbones="),
        (["jobs=[]"], tool_schemas.BenchmarkConfig, "jobs="),
    ],
)
def test_an_empty_part_of_a_value_is_an_error_too(error_of, monkeypatch, arguments, script, named: str) -> None:
    monkeypatch.setenv("NOTHING", "")
    assert error_of(arguments, script).startswith(named)


def test_an_empty_environment_variable_is_not_the_working_directory(error_of, monkeypatch) -> None:
    monkeypatch.setenv("THAW_OUTPUTS", "")
    for script in (None, *TOOLS):
        assert error_of([], script).startswith("THAW_OUTPUTS= is empty.")


OTHERS = ["seed", "deterministic", "split.folds", "optimizer.learning_rate", "dataset", "finetune.head_optimizer"]


STAGE = ["finetune.stages", "finetune.stages[0].name", "finetune.stages[0].freeze", "finetune.stages[0].epochs"]


@pytest.mark.parametrize("key", [*sorted(text_keys(Config)), *OTHERS, *STAGE])
def test_an_empty_value_in_a_file_is_an_error_that_names_the_key(error_of, tmp_path, key: str) -> None:
    file = tmp_path / "conf" / "experiment" / "x.yaml"
    file.parent.mkdir(parents=True)
    entry = '"  "' if key == "dataset.path" else '""'
    for name in reversed(key.replace("stages[0]", "stages.[").split(".")):
        entry = f"[{entry}]" if name == "[" else f"{{{name}: {entry}}}"
    file.write_text(f"# @package _global_\n{entry[1:-1]}\n")
    said = error_of([f"--config-dir={tmp_path}/conf", "experiment=x"])
    assert key.rpartition("].")[2] in said  # of an entry's number OmegaConf names the last word only
    assert "= is empty." in said or "section is expected" in said or key == "finetune.stages"


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("tracking.experiment=null", "tracking.experiment=null: this key needs a value. Leave it out for its default"),
        ("outputs=null", "outputs=null: this key needs a value"),
        ("", "an argument is empty. Is a shell variable unset?"),
    ],
)
def test_what_has_no_value_is_told_by_its_name(error_of, argument: str, said: str) -> None:
    assert said in error_of([argument])

"""A space means the same in `sweep.space`, in a file of conf/sweep and on the command line."""

from pathlib import Path

import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from thaw.common.errors import UserError
from thaw.config.schema import Config
from thaw.config.schema_keys import dotted_keys
from thaw.sweeps.space import Parameter, as_attribute, from_attribute, grid_size, parse_space, parse_swept_arguments

ROOT = Path(__file__).parents[2]
RATE = FloatDistribution(1e-5, 1e-2, log=True)


@pytest.mark.parametrize(
    ("text", "distribution"),
    [
        ("log(1e-5,1e-2)", RATE),
        ("log(1e-5, 1e-2)", RATE),
        ("tag(log, interval(1e-5,1e-2))", RATE),
        ("uniform(0,0.5)", FloatDistribution(0, 0.5)),
        ("interval(0,0.5)", FloatDistribution(0, 0.5)),
        ("[a,b]", CategoricalDistribution(("a", "b"))),
        ("choice(a,b)", CategoricalDistribution(("a", "b"))),
        ("range(3)", CategoricalDistribution(("0", "1", "2"))),
        ("0.5", CategoricalDistribution(("0.5",))),
        ("[true,null,0.001]", CategoricalDistribution(("true", "null", "0.001"))),
    ],
)
def test_a_value_of_the_space_is_what_it_is_drawn_from(text: str, distribution) -> None:
    (parameter,) = parse_space(f"{{optimizer.learning_rate: {text}}}")
    assert _lower(parameter.distribution) == _lower(distribution)
    in_file = yaml.safe_load(text) if text.startswith("[") else text
    (from_file,) = parse_space({"optimizer.learning_rate": in_file})
    assert [value.lower() for value in from_file.texts] == [value.lower() for value in parameter.texts] or (
        from_file.distribution == parameter.distribution
    )


def _lower(distribution):
    if isinstance(distribution, CategoricalDistribution):
        return [str(choice).lower() for choice in distribution.choices]
    return distribution


def test_a_nested_space_means_the_same_as_dotted_keys() -> None:
    nested = "{optimizer: {learning_rate: log(1e-5,1e-2)}, head: {dropout: [0,0.5]}}"
    in_file = {"optimizer": {"learning_rate": "log(1e-5,1e-2)"}, "head": {"dropout": [0, 0.5]}}
    dotted = parse_space("{optimizer.learning_rate: log(1e-5,1e-2), head.dropout: [0,0.5]}")
    assert parse_space(nested) == parse_space(in_file) == dotted


def test_an_optimizer_of_a_stage_is_chosen_as_on_the_command_line() -> None:
    (parameter,) = parse_space("{finetune.head_optimizer: [adam,sgd]}")
    assert parameter.override("adam") == "optimizer@finetune.head_optimizer=adam"


def test_an_interval_of_whole_numbers_draws_whole_numbers_where_the_key_holds_them() -> None:
    hidden, dropout = parse_space("{head.hidden: log(64,1024), head.dropout: uniform(0,1)}")
    assert hidden.distribution == IntDistribution(64, 1024, log=True)
    assert hidden.override(128) == "head.hidden=128"
    assert dropout.distribution == FloatDistribution(0, 1)


@pytest.mark.parametrize("argument", ["seed=interval(0,5)", "++seed=interval(0,5)", "seed=tag(log,interval(1,5))"])
def test_on_the_command_line_too(argument: str) -> None:
    ((parameter,), _) = parse_swept_arguments([argument])
    assert isinstance(parameter.distribution, IntDistribution)
    assert parameter.distribution.high == 5
    with pytest.raises(UserError, match="seed holds whole numbers"):
        parse_swept_arguments(["seed=interval(0,2.5)"])


def test_the_command_line_parts_what_varies_from_what_is_fixed() -> None:
    arguments = ["seed=5", "optimizer.learning_rate=1e-4,1e-3", "head.dropout=interval(0,0.5)", "dataset.path='a,b'"]
    parameters, fixed = parse_swept_arguments(arguments)
    assert [p.key for p in parameters] == ["optimizer.learning_rate", "head.dropout"]
    assert parameters[0].texts == ("0.0001", "0.001")
    assert fixed == ["seed=5", "dataset.path='a,b'"]


def test_a_grid_has_the_product_of_its_lists_and_an_interval_has_no_size() -> None:
    assert grid_size(parse_space("{a: [1,2,3], b: [x,y]}")) == 6
    assert grid_size(parse_space("{a: [1,2,3], b: uniform(0,1)}")) is None
    assert grid_size([]) == 1


def test_another_machine_reads_the_space_that_this_one_wrote() -> None:
    space = parse_space(
        "{optimizer.learning_rate: log(1e-5,1e-2), finetune.freeze: [all,'a b'], head.hidden: log(1,9)}"
    )
    assert from_attribute(as_attribute(space)) == space
    assert isinstance(space[0], Parameter)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ("abc", "is no mapping from keys to values"),
        ("{a: foo(1)}", "Unknown function 'foo'"),
        ("{a: log(0,1)}", "a logarithmic interval starts above 0"),
        ("{a: uniform(2,1)}", "goes from a number to a larger one"),
        ("{a: []}", "there is no value to run through"),
        ("{a: log(1)}", "is not understood"),
        ("{a: loguniform(1,2)}", "there are log, uniform, interval, choice, range and tag"),
        ("{a: 0.1,0.2}", "several values stand in brackets"),
        ("{sweep.trials: [1,2]}", "sweep.trials is no setting of a job"),
        ("{hydra.sweep.dir: [a,b]}", "hydra.sweep.dir is no setting of a job"),
        ("{resume: [a,b]}", "resume is no setting of a job"),
    ],
)
def test_a_space_that_means_nothing_is_refused_with_what_is_wrong(space: str, said: str) -> None:
    with pytest.raises(UserError, match=said.replace("(", r"\(")):
        parse_space(space)


@pytest.mark.parametrize("file", sorted((ROOT / "conf" / "sweep").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_ready_spaces_vary_keys_that_exist(file: Path) -> None:
    content = yaml.safe_load(file.read_text())
    parameters = parse_space(content.get("space"))
    assert {p.key for p in parameters} <= set(dotted_keys(Config)) | {"head"}
    assert content["sampler"] != "grid" or grid_size(parameters)

"""The command line's answers to mistakes: one clear error, long before TensorFlow."""

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from thaw.config import cli, schema
from thaw.config.arguments import quoted
from thaw.config.help import keys
from thaw.config.schema import Config

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("bakbone=vgg16", "bakbone is not a key. Did you mean 'backbone'?"),
        ("backbone=inceptionv4", "backbone=inceptionv4 is not a choice. Did you mean 'inceptionv3'?"),
        ("experiment=quickstat", "Did you mean 'quickstart'?"),
        ("finetune.frezee=3", "Did you mean 'finetune.freeze'? Keys of finetune: freeze, batchnorm"),
        ("+finetune.frezee=3", "finetune.frezee is not a key. Did you mean 'finetune.freeze'?"),
        ("train.batch_size=abc", "train.batch_size: Value 'abc'"),
        ("train.batch_size=0", "train.batch_size=0 is out of range: it must be at least 1"),
        ("optimizer.learning_rate=-1", "optimizer.learning_rate=-1.0 is out of range: it must be above 0"),
        ("head.dropout=nan", "head.dropout=nan is not a number"),
        ("cache.max_gb=inf", "cache.max_gb=inf is out of range: it must be at most 1000000"),
        ("finetune.batchnorm=froze", "Did you mean 'frozen'? Choose one of: frozen, trainable"),
        ("finetune.stages=[{nam:x}]", "finetune.stages: Key 'nam' not in 'StageConfig'"),
        ("finetune.stages=[{name:a},{name:a}]", "the name a stands twice"),
        ("dataset=image_folder", "dataset=image_folder needs a folder: dataset.path=DIR"),
        ("dataset.bits=12", "dataset=cifar10 is no data of 16 bits a channel"),
        ("dataset=csv", "dataset=csv needs a table: dataset.path=FILE"),
        ("split.fold=1", "split.fold=1 needs split.folds"),
        ("split.folds=1", "split.folds=1 is out of range: it must be at least 2"),
        ("backbone.image_size=16", "smallest input of efficientnet_lite0, 32 pixels"),
        ("backbone.alpha=0.5", "backbone.alpha is not an argument of efficientnet_lite0; it belongs to mobilenet"),
        ("backbone.weights=imagnet", "Did you mean 'imagenet'?"),
        ("backbone.weights=no/such.h5", "a weights file that exists"),
        ("quickstart", "quickstart is not understood: every argument is key=value"),
        ("finetune.stages=[{name:../..}]", "'../..' is no name for a stage"),
    ],
)
def test_a_mistake_is_named_before_anything_heavy_is_imported(commands, argument: str, said: str) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['train.py', {argument!r}]\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally:\n    assert not {'tensorflow', 'keras', 'mlflow', 'sklearn'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=commands.env, capture_output=True, text=True)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_mistake_in_a_file_is_told_as_one_in_an_argument(told, tmp_path) -> None:
    file = tmp_path / "conf" / "experiment" / "x.yaml"
    file.parent.mkdir(parents=True)
    for text, said in (
        ("seed: abc", "seed: Value 'abc'"),
        ("sead: 3", "sead is not a key. Did you mean 'seed'?"),
        ("head: {hiden: 3}", "head.hiden is not a key. Did you mean 'head.hidden'?"),
        ("head: 3", "head='3' is a text where a section is expected"),
    ):
        file.write_text(f"# @package _global_\n{text}\n")
        assert told([f"--config-dir={tmp_path}/conf", "experiment=x"]).startswith(said)


def test_a_sweep_with_a_misspelt_key_or_choice_opens_no_run(commands) -> None:
    for arguments in (("-m", "bakbone=vgg16,vgg19"), ("-m", "seed=0,1", "backbone=vgg16,vgg61")):
        done = commands.run(*arguments)
        assert done.code == 1
        assert "Did you mean" in done.err
    assert not commands.outputs.exists() or not list(commands.outputs.glob("sweeps/*/*/parent_run_id"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("recipe=scratch", "backbone=resnet50"), "recipe=scratch trains from random weights"),
        (("split.folds=3", "split.fold=3"), "they are counted from 0 to 2"),
        (("train.sampling=balanced", "train.class_weight=balanced"), "both make up for rare classes"),
        (("recipe=bottleneck", "augment=light"), "keeps the features of every image once"),
        (("cache.views=4",), "augment=none changes no image: set augment=light or strong"),
        (("recipe=scratch", "augment=light", "cache.views=4"), "recipe=scratch freezes nothing: leave cache.views out"),
    ],
)
def test_choices_that_contradict_each_other_are_refused(commands, arguments: tuple[str, ...], said: str) -> None:
    done = commands.run(*arguments)
    assert (done.code, said in done.err) == (1, True)


def test_help_lists_every_choice_and_key(commands) -> None:
    helped = commands.run("--help")
    assert helped.code == 0
    for part in ("backbone= cnn convnextbase", "recipe= bottleneck finetune scratch", "finetune.freeze=", "seed=0"):
        assert part in helped.out


def test_help_shows_what_a_run_would_use(commands) -> None:
    """conf/ has the last word over the schema: of optimizers, and of the backbone's boundary."""
    lines = [line.split()[0] for line in commands.run("--help").out.splitlines() if line.startswith("  ")]
    for shown in (
        "optimizer.name=sgd", "optimizer.momentum=0.9", "finetune.head_optimizer.name=rmsprop",
        "finetune.head_optimizer.learning_rate=0.001", "finetune.head_optimizer.momentum=null",
        "backbone.freeze=block6c", "finetune.freeze=${backbone.freeze}", "deterministic=true", "finetune.stages=[]",
    ):  # fmt: skip
        assert shown in lines


@pytest.mark.parametrize(
    ("script", "shown", "choices"),
    [("cache", "cache.max_gb=20.0", False), ("predict", "top=5", True), ("layers", "format=table", True),
     ("benchmark", "repeats=3", False)],
)  # fmt: skip
def test_help_of_a_script_has_a_heading_only_over_something(commands, script: str, shown: str, choices: bool) -> None:
    helped = commands.run(f"scripts/{script}.py", "--help")
    assert helped.code == 0, helped.err
    assert f"  {shown} " in helped.out
    assert ("Choices" in helped.out) == choices
    assert ("  backbone= cnn" in helped.out) == choices


def test_a_script_takes_key_value_only(commands) -> None:
    done = commands.run("scripts/layers.py", "inceptionv3")
    assert (done.code, "every argument is key=value" in done.err) == (1, True)
    done = commands.run("scripts/predict.py", "imags=x.jpg")
    assert (done.code, "Did you mean 'images'" in done.err) == (1, True)


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        ("dataset.path=my photos (1)", r"dataset.path='my photos (1)'"),
        ("images=2024_01", "images='2024_01'"),
        ("model=12e45678", "model='12e45678'"),
        ("dataset.path=null", "dataset.path=null"),
        ("dataset.path=a b,c d", "dataset.path='a b','c d'"),
        ("dataset.path=it's", r"dataset.path='it\'s'"),
        ("dataset.path=a,b", "dataset.path='a','b'"),  # a sweep
        ("images=Bücher/*.jpg", "images='Bücher/*.jpg'"),
        ("images=[a.jpg,b.jpg]", "images=[a.jpg,b.jpg]"),
        ("seed=1", "seed=1"),
        ("finetune.head_optimizer=adam", "optimizer@finetune.head_optimizer=adam"),
    ],
)
def test_paths_need_no_quoting(given: str, passed_on: str) -> None:
    assert quoted([given]) == [passed_on]


def test_without_sweeps_a_comma_is_part_of_a_path() -> None:
    assert quoted(["images=a,b.jpg"], sweeps=False) == ["images='a,b.jpg'"]


TRAIN = [*keys(Config), "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "experiment"]
SCRIPTS = {
    schema.LayersConfig: "layers", schema.CacheToolConfig: "cache", schema.PredictConfig: "predict",
    schema.ReproduceConfig: "reproduce", schema.ExploreConfig: "explore", schema.BenchmarkConfig: "benchmark",
    schema.FaultsConfig: "faults",
}  # fmt: skip


@pytest.fixture
def told(tmp_path, monkeypatch):
    """What train.py, or a script, says to a mistake among its arguments, in this process."""
    monkeypatch.setenv("THAW_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def say(arguments: list[str], script: type | None = None) -> str:
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.command(ROOT, SCRIPTS[script], script, lambda _: None) if script else cli.train(ROOT)
        assert str(ended.value.code).startswith("error: ")
        assert len(str(ended.value.code).splitlines()) == 1
        return str(ended.value.code).removeprefix("error: ")

    return say


def test_every_schema_is_tried_with_empty_values() -> None:
    own = {each for each in vars(schema).values() if dataclasses.is_dataclass(each)}
    inner = {field.default_factory for each in own for field in dataclasses.fields(each)} | {schema.StageConfig}
    assert own - inner == {*SCRIPTS, Config}


@pytest.mark.parametrize(
    ("script", "key"),
    [*((None, key) for key in TRAIN), *((script, key) for script in SCRIPTS for key in keys(script))],
    ids=str,
)
def test_an_empty_value_is_an_error_that_names_the_key(told, script: type | None, key: str) -> None:
    for value in ("", "' '") if key != "seed" else ("", " ", "''", "' '", '""'):
        assert told([f"{key}={value}"], script).startswith(f"{key}= is empty.")


@pytest.mark.parametrize(
    ("arguments", "script", "named"),
    [
        (["-m", "seed="], None, "seed="),
        (["-m", "dataset.path=a,,b"], None, "dataset.path="),
        (["-m", "tracking.experiment=choice(a,'')"], None, "tracking.experiment="),
        (["+dataset.path="], None, "dataset.path="),
        (["++dataset.path="], None, "dataset.path="),
        (["~dataset.path="], None, "dataset.path="),
        (["finetune.stages=[{name:''}]"], None, "finetune.stages="),
        (["outputs=${oc.env:NOTHING}"], None, "outputs="),
        (["hydra.run.dir=${oc.env:NOTHING}"], None, "hydra.run.dir="),
        (["tracking.experiment=${oc.env:NOTHING}"], None, "tracking.experiment="),
        (["--config-dir="], None, "--config-dir="),
        (["--config-dir", ""], None, "--config-dir="),
        (["images=[a.jpg,]"], schema.PredictConfig, "images="),
        (["images=[a.jpg,'']"], schema.PredictConfig, "images="),
        (["images=[]"], schema.PredictConfig, "images="),
        (["images=${oc.env:NOTHING}"], schema.PredictConfig, "images="),
        (["backbones=[]"], schema.BenchmarkConfig, "backbones="),
        (["jobs=[]"], schema.BenchmarkConfig, "jobs="),
    ],
)
def test_an_empty_part_of_a_value_is_an_error_too(told, monkeypatch, arguments, script, named: str) -> None:
    monkeypatch.setenv("NOTHING", "")
    assert told(arguments, script).startswith(named)


def test_an_empty_environment_variable_is_not_the_working_directory(told, monkeypatch) -> None:
    monkeypatch.setenv("THAW_OUTPUTS", "")
    for script in (None, *SCRIPTS):
        assert told([], script).startswith("THAW_OUTPUTS= is empty.")


@pytest.mark.parametrize("key", [*keys(Config), "finetune.stages[0].name", "finetune.stages[0].freeze"])
def test_an_empty_value_in_a_file_is_an_error_that_names_the_key(told, tmp_path, key: str) -> None:
    file = tmp_path / "conf" / "experiment" / "x.yaml"
    file.parent.mkdir(parents=True)
    entry = '"  "' if key == "dataset.path" else '""'
    for name in reversed(key.replace("stages[0]", "stages.[").split(".")):
        entry = f"[{entry}]" if name == "[" else f"{{{name}: {entry}}}"
    file.write_text(f"# @package _global_\n{entry[1:-1]}\n")
    said = told([f"--config-dir={tmp_path}/conf", "experiment=x"])
    assert key in said
    assert said.startswith(f"{key}= is empty.") or "section is expected" in said or key == "finetune.stages"

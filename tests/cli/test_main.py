"""The command line's answers to mistakes: one clear error, long before TensorFlow."""

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from thaw.cli import hydra_flags, main, sweep_checks
from thaw.cli.arguments import PATH_KEYS, quote_texts
from thaw.cli.compose import resolve_hydra_values
from thaw.config import schema, tool_schemas
from thaw.config.schema import Config
from thaw.config.schema_keys import HYDRA_TEXT_KEYS, TEXT_OR_NUMBER_KEYS, dotted_keys, text_keys
from thaw.config.yaml_text import keep_yaml_texts

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
        ("images=[a.jpg,b.jpg]", "images=['a.jpg','b.jpg']"),
        ("images=${oc.env:HOME}/a (1).jpg", "images='${oc.env:HOME}/a (1).jpg'"),
        ("dataset.path=${oc.env:HOME}", "dataset.path=${oc.env:HOME}"),
        ("dataset.path='a','b'", "dataset.path='a','b'"),
        ("dataset.path='tis", r"dataset.path='\'tis'"),
        ("experiment=2026_11_27", "experiment='2026_11_27'"),
        ("backbone=vgg16,resnet50", "backbone=vgg16,resnet50"),
        ("backbone=glob(res*)", "backbone=glob(res*)"),
        ("hydra.run.dir=runs/2026_11 (1)", "hydra.run.dir='runs/2026_11 (1)'"),
        ("seed=1", "seed=1"),
        ("finetune.head_optimizer=adam", "optimizer@finetune.head_optimizer=adam"),
    ],
)
def test_paths_need_no_quoting(given: str, passed_on: str) -> None:
    one = tool_schemas.PredictConfig if given.partition("=")[0] in ("images", "model") else Config
    assert quote_texts([given], one) == [passed_on]


def test_without_sweeps_a_comma_is_part_of_a_path() -> None:
    assert quote_texts(["images=a,b.jpg"], tool_schemas.PredictConfig, sweeps=False) == ["images='a,b.jpg'"]


# Texts that Hydra's grammar or YAML would read as something else.
READ_OTHERWISE = [
    "2026_11_27", "1_000", "1e5", "1E5", "007", "0x10", "0b1", "1.10", "+1", "-0.5", ".5", "5.", "true", "False", "yes",
    "NULL", "Null", "inf", "-inf", "NaN", "12:30:45", "2026-11-27", "a b", " a", "a(b)", "a{b}", "x=y", "it's", 'a"b',
    "a\\b", "a\\", "#a", "a: b", "@a", "$a", "%a", "!a", "&a", "*a", "?", "-", "a[1]", "a#b", "1" * 32, "12e45678",
]  # fmt: skip


def value_of(schema_: type, key: str, given: str, sweeps: bool = False) -> object:
    """The value that a key has in the end."""
    ConfigStore.instance().store(name="any", node=schema_)
    with hydra.initialize(None, version_base="1.3"):
        return OmegaConf.select(hydra.compose("any", quote_texts([f"{key}={given}"], schema_, sweeps)), key)


@pytest.mark.parametrize(
    ("schema_", "key"),
    [
        (each, key)
        for each in (
            Config,
            tool_schemas.CacheToolConfig,
            tool_schemas.ReproduceConfig,
            tool_schemas.FaultsConfig,
            tool_schemas.BenchmarkConfig,
        )
        for key in sorted(text_keys(each) - TEXT_OR_NUMBER_KEYS)
        if key != "backbones"
    ],
)
def test_a_text_is_what_was_typed(schema_: type, key: str) -> None:
    for text in READ_OTHERWISE if key in ("tracking.experiment", "dataset.path") else READ_OTHERWISE[:4]:
        assert value_of(schema_, key, text) == text


@pytest.mark.parametrize("text", [text for text in READ_OTHERWISE if text not in (" a", "it's", 'a"b')])
def test_a_text_in_a_list_or_a_sweep_is_what_was_typed(text: str) -> None:
    assert value_of(tool_schemas.BenchmarkConfig, "backbones", f"[vgg16, {text}]") == ["vgg16", text]
    for given in (f"{text},b", f"choice({text}, b)"):
        (swept,) = OverridesParser.create().parse_overrides(quote_texts([f"tracking.experiment={given}"], Config))
        jobs = OverridesParser.create().parse_overrides([f"x={each}" for each in swept.sweep_string_iterator()])
        assert [job.value() for job in jobs] == [text, "b"]


@pytest.mark.parametrize("text", ["2026_11_27", "1e5", "1.10", "007", "yes", "true", "12:30:45", "0x10", "1_0", "a b"])
def test_a_text_in_a_file_is_what_was_written(tmp_path, text: str) -> None:
    for name, content in {
        "experiment/x": f"# @package _global_\ntracking: {{experiment: {text}}}\ndataset:\n  path: {text}\nseed: 1_0\n"
        "backbone: {freeze: 0.50}\nhydra: {job: {name: " + text + "}}\n",
        "dataset/mine": f"name: csv\npath: {text}\nval_fraction: 2e-1\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(content)
    keep_yaml_texts()
    ConfigStore.instance().store(name="schema", node=Config)
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        there = f"hydra.searchpath=[file://{tmp_path}]"
        one = hydra.compose("config", [there, "experiment=x"], return_hydra_config=True)
        other = hydra.compose("config", [there, "dataset=mine"])
    assert (one.tracking.experiment, one.dataset.path, one.hydra.job.name) == (text, text, text)
    assert (one.seed, one.backbone.freeze) == (10, 0.5)
    assert (other.dataset.path, other.dataset.val_fraction) == (text, 0.2)


@pytest.mark.parametrize(("given", "value"), [("172", 172), ("0.5", 0.5), ("block6c", "block6c"), ("all", "all")])
def test_a_boundary_in_figures_stays_a_number(given: str, value: object) -> None:
    assert value_of(Config, "finetune.freeze", given) == value
    assert type(value_of(Config, "finetune.freeze", given)) is type(value)


def test_every_key_that_may_be_a_path_is_a_text_of_some_schema() -> None:
    every = set().union(*(text_keys(each) for each in (Config, *SCRIPTS)))
    assert every >= PATH_KEYS - HYDRA_TEXT_KEYS
    assert every >= TEXT_OR_NUMBER_KEYS


def test_the_home_of_a_user_who_does_not_exist_is_named(told) -> None:
    assert told(["dataset.path=~nobody-here/photos"]).startswith("~nobody-here/photos: this machine has no such user")


TRAIN = [*dotted_keys(Config), "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "experiment"]
SCRIPTS = {
    tool_schemas.LayersConfig: "layers", tool_schemas.CacheToolConfig: "cache", tool_schemas.PredictConfig: "predict",
    tool_schemas.ReproduceConfig: "reproduce", tool_schemas.ExploreConfig: "explore",
    tool_schemas.BenchmarkConfig: "benchmark",
    tool_schemas.FaultsConfig: "faults",
}  # fmt: skip


@pytest.fixture
def told(tmp_path, monkeypatch):
    """What train.py, or a script, says to a mistake among its arguments, in this process."""
    monkeypatch.setenv("THAW_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def say(arguments: list[str], script: type | None = None) -> str:
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            main.run_tool(SCRIPTS[script], script, lambda _: None) if script else main.train()
        assert str(ended.value.code).startswith("error: ")
        assert len(str(ended.value.code).splitlines()) == 1
        return str(ended.value.code).removeprefix("error: ")

    return say


def test_every_schema_is_tried_with_empty_values() -> None:
    own = {
        each for module in (schema, tool_schemas) for each in vars(module).values() if dataclasses.is_dataclass(each)
    }
    inner = {field.default_factory for each in own for field in dataclasses.fields(each)} | {schema.StageConfig}
    assert own - inner == {*SCRIPTS, Config}


@pytest.mark.parametrize(
    ("script", "key"),
    [*((None, key) for key in TRAIN), *((script, key) for script in SCRIPTS for key in dotted_keys(script))],
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
def test_an_empty_part_of_a_value_is_an_error_too(told, monkeypatch, arguments, script, named: str) -> None:
    monkeypatch.setenv("NOTHING", "")
    assert told(arguments, script).startswith(named)


def test_an_empty_environment_variable_is_not_the_working_directory(told, monkeypatch) -> None:
    monkeypatch.setenv("THAW_OUTPUTS", "")
    for script in (None, *SCRIPTS):
        assert told([], script).startswith("THAW_OUTPUTS= is empty.")


OTHERS = ["seed", "deterministic", "split.folds", "optimizer.learning_rate", "dataset", "finetune.head_optimizer"]
STAGE = ["finetune.stages", "finetune.stages[0].name", "finetune.stages[0].freeze", "finetune.stages[0].epochs"]


@pytest.mark.parametrize("key", [*sorted(text_keys(Config)), *OTHERS, *STAGE])
def test_an_empty_value_in_a_file_is_an_error_that_names_the_key(told, tmp_path, key: str) -> None:
    file = tmp_path / "conf" / "experiment" / "x.yaml"
    file.parent.mkdir(parents=True)
    entry = '"  "' if key == "dataset.path" else '""'
    for name in reversed(key.replace("stages[0]", "stages.[").split(".")):
        entry = f"[{entry}]" if name == "[" else f"{{{name}: {entry}}}"
    file.write_text(f"# @package _global_\n{entry[1:-1]}\n")
    said = told([f"--config-dir={tmp_path}/conf", "experiment=x"])
    assert key.rpartition("].")[2] in said  # of an entry's number OmegaConf names the last word only
    assert "= is empty." in said or "section is expected" in said or key == "finetune.stages"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m", "optimizer.learning_rate=interval(1e-5,1e-3)"], "optimizer.learning_rate=interval(1e-5,1e-3) has no"),
        (["-m", "backbone=glob(xyz*)"], "backbone=glob(xyz*): there is no such value"),
        (["seed=1,2"], "seed=1,2 is several values: -m trains with each"),
        (["optimizer.learning_rate=choice(1e-5,1e-3)"], "Sweep parameters 'optimizer.learning_rate=choice("),
        (["hydra/launcher=joblib"], "hydra/launcher=joblib is not installed"),
        (["-m", "hydra/sweeper=optuna", "seed=1"], "hydra/sweeper=optuna is not installed"),
        (["--config-name", "mine"], "--config-name and --config-path are refused"),
        (["-cn", "mine"], "--config-name and --config-path are refused"),
        (["-cp", "mine"], "--config-name and --config-path are refused"),
        (["--config-dir", "absent"], "--config-dir=absent is no folder"),
        (["--foo"], "unrecognized arguments: --foo"),
        (["--cfg", "x"], "argument --cfg/-c: invalid choice: 'x'"),
        (["seed = 3"], "seed = 3 is not understood: write key=value, without spaces"),
        (["seed", "=", "3"], "seed is not understood"),
        (["~dataset"], "~dataset is refused"),
        (["+seed=3"], "seed: Could not append to config"),
        (["hydra.mode=FOO"], "hydra.mode: Invalid value 'FOO'"),
        (["-m", "hydra.sweeper.max_batch_size=0", "seed=1,2"], "hydra.sweeper.max_batch_size=0 is out of range"),
    ],
)
def test_a_way_of_hydras_that_does_not_work_is_one_line(told, arguments: list[str], said: str) -> None:
    assert told(arguments).startswith(said)


@pytest.mark.parametrize("argument", ["-m", "--multirun", "--cfg=job", "--config-dir=x", "~backbone", "seed = 3", "-"])
def test_a_flag_of_hydras_is_one_line_in_a_script(told, argument: str) -> None:
    assert told([argument], tool_schemas.LayersConfig).startswith(argument)


def test_a_file_without_its_package_line_is_told_the_line(told, tmp_path) -> None:
    file = tmp_path / "conf" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    for text in ("seed: 3\n", "defaults: [override /augment: none]\nhead: {hidden: 3}\n"):
        file.write_text(text)
        for sweep in ([], ["-m", "seed=1,2"]):
            said = told([*sweep, f"--config-dir={tmp_path}/conf", "experiment=mine"])
            assert said.startswith("experiment/mine.yaml lacks its first line: # @package _global_")


def test_flags_may_stand_anywhere() -> None:
    read = hydra_flags.parse_command_line(["seed=1", "-m", "augment=light,strong"])
    assert (read.to_argv(), read.is_sweep) == (["--multirun", "seed=1", "augment=light,strong"], True)
    assert hydra_flags.parse_command_line(["seed=1", "hydra.mode=MULTIRUN"]).to_argv() == ["--multirun", "seed=1"]
    assert hydra_flags.parse_command_line(["seed=1", "--multi"]).is_sweep
    assert hydra_flags.parse_command_line(["seed=1", "--cfg", "job", "--resolve"]).to_argv() == [
        "--resolve",
        "--cfg=job",
        "seed=1",
    ]
    assert hydra_flags.parse_command_line(["--info", "defaults"]).to_argv() == ["--info=defaults"]
    assert hydra_flags.parse_command_line(["-sc", "query=bash"]).to_argv() == ["--shell-completion", "query=bash"]
    assert not hydra_flags.parse_command_line(["seed=1"]).is_sweep


@pytest.mark.parametrize(
    "arguments",
    [
        ["seed=${hydra:job.num}", "augment=light,strong"],
        ["backbone=glob(vgg*)"],
        ["seed=range(0,3)"],
        ["optimizer.learning_rate=choice(1e-4,1e-3)"],
        ["optimizer.learning_rate=1e-4,1e-3", "++seed=1"],
        ["hydra/sweeper=any", "optimizer.learning_rate=interval(1e-5,1e-3)"],
    ],
)
def test_sweeps_as_hydra_writes_them_pass_the_check(told, arguments: list[str]) -> None:
    ConfigStore.instance().store(name="schema", node=Config)
    ConfigStore.instance().store(group="hydra/sweeper", name="any", node={"_target_": "their.Sweeper"})
    try:
        sweep_checks.check_sweep(arguments)
    finally:
        del ConfigStore.instance().repo["hydra"]["sweeper"]["any.yaml"]


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        (
            "seed=${hydra:job.num}",
            "seed=${hydra:job.num}: only the runs of a sweep have a number. Add -m, or give seed a value",
        ),
        (
            "+experiment=quickstart",
            "+experiment=quickstart: experiment has a choice already, and + adds another. Write experiment=quickstart",
        ),
        (
            "+finetune.head_optimizer=sgd",
            "+finetune.head_optimizer=sgd: finetune.head_optimizer has a choice already, and + adds another. "
            "Write finetune.head_optimizer=sgd",
        ),
        (
            "tracking.experiment=${oc.env:NOT_SET}",
            "tracking.experiment: KeyError raised while resolving interpolation: \"Environment variable 'NOT_SET' not "
            'found"',
        ),
    ],
)
def test_what_hydra_says_in_its_own_terms_is_one_line_with_the_remedy(commands, argument: str, said: str) -> None:
    ran = commands.run(argument)
    assert (ran.code, ran.out, ran.err) == (1, "", f"error: {said}\n")


def test_a_jobs_number_is_stored_as_its_value() -> None:
    cfg = OmegaConf.create({"seed": 7, "tracking": {"experiment": "07"}})
    given = [r"seed=$\{hydra\:job.num\}", "++tracking.experiment=${hydra:job.id}", "seed=${split.fold}"]
    assert resolve_hydra_values(given, cfg) == ["seed=7", "tracking.experiment='07'", "seed=${split.fold}"]


def test_what_only_prints_works(commands) -> None:
    for arguments, shown in (
        (["--cfg", "job", "seed=5"], "seed: 5"),
        (["--hydra-help"], "hydra.cc"),
        (["-sc", "install=bash"], "complete"),
    ):
        done = commands.run(*arguments)
        assert (done.code, done.err, shown in done.out) == (0, "", True)


def test_relative_paths_are_those_of_the_command_line_wherever_hydra_works(commands, photos) -> None:
    (commands.folder / "here").symlink_to(photos)
    done = commands.run(
        "hydra.job.chdir=true", "outputs=there", "-m", "recipe=scratch", "backbone=cnn", "backbone.weights=none",
        "dataset=image_folder", "dataset.path=here", "scratch.epochs=1", "seed=${hydra:job.num}", "engine=tensorflow",
    )  # fmt: skip
    assert (done.code, "UserWarning" in done.err) == (0, False), done.err
    (result,) = (commands.folder / "there" / "sweeps").glob("*/*/0/result.json")
    assert "seed=0" in done.out
    assert {file.name for file in result.parent.iterdir()} >= {"manifest.csv", "report"}
    assert not list(result.parent.glob("there"))


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("tracking.experiment=null", "tracking.experiment=null: this key needs a value. Leave it out for its default"),
        ("outputs=null", "outputs=null: this key needs a value"),
        ("", "an argument is empty. Is a shell variable unset?"),
    ],
)
def test_what_has_no_value_is_told_by_its_name(told, argument: str, said: str) -> None:
    assert said in told([argument])

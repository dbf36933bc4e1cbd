"""The command line answers a mistake with one clear error, long before TensorFlow is imported."""

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from thaw.cli.compose import resolve_hydra_values

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
        ("finetune.steps=many", "finetune.steps=many is neither a number nor auto. It is about how many steps"),
        ("finetune.steps=400.5", "finetune.steps=400.5 is not a whole number"),
        ("finetune.steps=0", "finetune.steps=0 is out of range: it must be at least 1"),
        ("optimizer.learning_rate=fast", "optimizer.learning_rate=fast is neither a number nor auto. It is peak"),
        ("optimizer.learning_rate=true", "optimizer.learning_rate=True is neither a number nor auto"),
        ("optimizer.learning_rate=null", "optimizer.learning_rate=null: this key needs a value"),
        ("finetune.stages=[{learning_rate:0}]", "finetune.stages[0].learning_rate=0.0 is out of range"),
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


def test_a_script_takes_key_value_only(commands) -> None:
    done = commands.run("scripts/layers.py", "inceptionv3")
    assert (done.code, "every argument is key=value" in done.err) == (1, True)
    done = commands.run("scripts/predict.py", "imags=x.jpg")
    assert (done.code, "Did you mean 'images'" in done.err) == (1, True)


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

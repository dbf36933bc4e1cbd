"""Names tell runs apart, and hold neither folders nor what changes no number."""

import re
from pathlib import Path

import pytest

from thaw.config.run_names import NAME_LENGTH, dataset_name, run_name, sweep_name
from thaw.config.schema import BackboneConfig, Config, DatasetConfig

FOLDER = DatasetConfig("image_folder", "/data/of/somebody/clothing/")
RUN_ID = "92cbd5a1015b421f8d9365341a4cbfca"


def config(recipe: str = "finetune", backbone: str = "efficientnet_lite0", dataset: DatasetConfig = FOLDER) -> Config:
    return Config(recipe=recipe, backbone=BackboneConfig(backbone), dataset=dataset)


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        (FOLDER, "clothing"),
        (DatasetConfig("image_folder", "my photos (1)"), "my photos (1)"),
        (DatasetConfig("image_folder", "a/b/../c"), "c"),
        (DatasetConfig("image_folder", "a\nb\udce9"), r"a\nb\udce9"),
        (DatasetConfig("image_folder", "/"), "image_folder"),
        (DatasetConfig("csv", "/data/labels.v2.csv"), "labels.v2"),
        (DatasetConfig("cifar10"), "cifar10"),
        (DatasetConfig("cifar10", "/data/cifar-10-python.tar.gz"), "cifar10"),
        (DatasetConfig("digits"), "digits"),
    ],
)
def test_a_data_set_is_called_as_its_folder_or_table(dataset: DatasetConfig, name: str) -> None:
    assert dataset_name(dataset) == name


def test_the_folder_that_a_command_stands_in_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert dataset_name(DatasetConfig("image_folder", ".")) == tmp_path.name
    assert dataset_name(DatasetConfig("image_folder", "..")) == tmp_path.parent.name


@pytest.mark.parametrize(
    ("overrides", "rest"),
    [
        ([], ""),
        (["finetune.freeze=block3b"], " freeze=block3b"),
        (["recipe=finetune", "dataset=image_folder", "dataset.path='/data/clothing'", "backbone=vgg16"], ""),
        (["outputs=/o", "tracking.uri=postgresql://me:secret@host/db", "hydra.run.dir=/x", "cache.dir=/c"], ""),
        (["report=none", "leak=stop", "checkpoint.keep=3", "cache.max_gb=5"], ""),
        (["experiment=quickstart", "seed=3"], " experiment=quickstart seed=3"),
        (["head=linear", "optimizer@finetune.head_optimizer=adam"], " head=linear head_optimizer=adam"),
        (["head.name=linear", "split.version=1"], " head=linear split.version=1"),
        (["optimizer.learning_rate=1e-3", "train.val_loss=objective"], " learning_rate=1e-3 val_loss=objective"),
        (["finetune.head_optimizer.learning_rate=0.1"], " head_optimizer.learning_rate=0.1"),
        (["backbone.weights='/home/me/my.weights.h5'"], " weights=my.weights.h5"),
        ([f"backbone.weights={RUN_ID}"], " weights=92cbd5a1"),
        (["seed=1", "seed=2"], " seed=2"),
        (["+finetune.stages=[{freeze: all, epochs: 1}, {freeze: mixed5, epochs: 2}]"],
         " stages=[{freeze: all,epochs: 1},{freez…"),
        (["augment=light\n"], r" augment=light\n"),
    ],
)  # fmt: skip
def test_a_run_is_called_by_what_was_set_for_it(overrides: list[str], rest: str) -> None:
    assert run_name(config(), overrides) == f"clothing{rest} finetune efficientnet_lite0"


def test_a_recipe_or_a_backbone_that_is_not_the_default_stands_before_the_settings() -> None:
    """MLflow's page shows the first 25 characters."""
    overrides = ["recipe=bottleneck", "head=linear"]
    assert run_name(config("bottleneck"), overrides) == "clothing bottleneck head=linear efficientnet_lite0"
    assert run_name(config("bottleneck", "vgg16"), overrides) == "clothing bottleneck vgg16 head=linear"
    assert run_name(config(backbone="vgg16"), ["seed=1"]) == "clothing vgg16 seed=1 finetune"


def test_what_is_the_same_for_many_runs_stands_last() -> None:
    overrides = ["dataset.limit_per_class=25", "backbone.image_size=96", "optimizer.learning_rate=2e-3"]
    assert run_name(config(), overrides) == (
        "clothing learning_rate=2e-3 limit_per_class=25 image_size=96 finetune efficientnet_lite0"
    )


def test_what_tells_a_run_from_its_siblings_stands_first() -> None:
    overrides = ["head.dropout=0.2", "head.hidden=16", "backbone=efficientnet_lite0", "seed=1"]
    name = run_name(config(), overrides, first={"seed", "head.hidden", "backbone"})
    assert name == "clothing efficientnet_lite0 hidden=16 seed=1 dropout=0.2 finetune"


def test_a_name_ends_where_a_setting_no_longer_fits() -> None:
    overrides = ["augment=strong", f"finetune.head_epochs=1{30 * '0'}", f"head.hidden=1{30 * '0'}"]
    name = run_name(config(dataset=DatasetConfig("image_folder", 100 * "n")), overrides)
    assert re.fullmatch(
        rf"{19 * 'n'}… augment=strong head_epochs=1{30 * '0'} …[0-9a-f]{{4}} finetune efficientnet_lite0", name
    )
    assert len(name) <= NAME_LENGTH


def test_names_that_are_cut_differ_where_what_is_cut_off_differs() -> None:
    common = [f"finetune.{key}_epochs=1{20 * '0'}{i}" for i, key in enumerate(["head", "thaw", "more", "last"])]
    one, other = (run_name(config(), [*common, f"optimizer.learning_rate={rate}"]) for rate in ("1e-3", "1e-4"))
    assert one != other
    assert one.partition("…")[0] == other.partition("…")[0]


def test_a_sweep_is_called_by_what_varies_in_it() -> None:
    typed = ["precision=draft", "dataset=image_folder", "seed=0", "recipe=bottleneck,finetune"]
    assert sweep_name(config(), typed, {"recipe"}) == (
        "sweep clothing recipe=bottleneck,finetune precision=draft seed=0 efficientnet_lite0"
    )
    folders = ["dataset.path=/data/a,/data/b"]
    assert sweep_name(config(), folders, {"dataset.path"}) == "sweep path=a,b finetune efficientnet_lite0"
    assert sweep_name(config(), [], set()) == "sweep clothing finetune efficientnet_lite0"

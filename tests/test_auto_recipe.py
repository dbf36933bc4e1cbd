"""recipe=auto on scikit-learn's digits: it measures, chooses, trains, says what would help, and can be repeated."""

import json
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Commands, Ran
from thaw.advice import auto_recipe
from thaw.advice.auto_plan import TimedDepth, choose_plan
from thaw.advice.auto_timing import at_smaller_side, seconds_around, timed_depths
from thaw.advice.depths import candidate_depths
from thaw.config.job import Job
from thaw.config.schema import (
    BackboneConfig,
    CacheConfig,
    Config,
    DatasetConfig,
    FinetuneConfig,
    HeadConfig,
    TrackingConfig,
)
from thaw.config.tool_schemas import ReproduceConfig
from thaw.extract.prepared_run import prepare_network
from thaw.run import run
from thaw.tools import reproduce

ROOT = Path(__file__).parents[1]
SMALL = ("dataset=digits", "dataset.limit_per_class=12", "report=none", "train.batch_size=128")  # one step an epoch


@pytest.fixture(scope="module")
def chosen(commands: Commands) -> Ran:
    ran = commands.run("train.py", *SMALL, "recipe=auto", "budget=10m", "backbone=efficientnet_lite0")
    assert ran.code == 0, ran.err
    return ran


def test_it_trains_the_plan_that_it_chose_and_keeps_its_reasons(chosen: Ran) -> None:
    result = chosen.result()
    auto = result["auto"]
    assert auto["plan"]["freeze"] == "block3b", "ten minutes are enough for the deepest boundary"
    stages = {stage["name"]: stage for stage in result["stages"]}
    assert stages["thaw"]["epochs"] == auto["plan"]["epochs"] == 2 * auto["usual_epochs"]
    assert [depth["freeze"] for depth in auto["depths"]] == ["block3b", "block5c"]
    assert [point["share"] for point in auto["learning_curve"]] == [0.25, 0.5, 1.0]
    assert result["cache"]["misses"] == 0, "what the choice computed is not computed again"
    for line in auto["lines"]:
        assert f"  {line}" in chosen.out
    for subject in ("more images: ", "another backbone: ", "more time: "):
        assert any(line.startswith(subject) for line in auto["lines"])


def test_its_arguments_stand_for_the_choice(commands: Commands, chosen: Ran) -> None:
    client, run_id = commands.client(), chosen.result()["run_id"]
    file = client.download_artifacts(run_id, "overrides.txt", str(commands.folder))
    overrides = Path(file).read_text().split()
    assert {"recipe=finetune", "finetune.freeze=block3b", "head=logistic"} <= {*overrides}
    assert not [override for override in overrides if override.startswith("budget") or override == "recipe=auto"]
    again = commands.run("train.py", *overrides)
    assert again.code == 0, again.err
    assert again.result()["weights_sha256"] == chosen.result()["weights_sha256"]


def test_a_run_that_was_killed_goes_on_with_its_plan(commands: Commands, chosen: Ran) -> None:
    folder = commands.folder / "killed"
    arguments = (*SMALL, "recipe=auto", "budget=10m", "backbone=efficientnet_lite0")
    commands.start_and_stop(folder, "stage1-epoch1-*.npz", signal.SIGKILL, *arguments)
    ran = commands.run("train.py", f"resume={folder}")
    assert ran.code == 0, ran.err
    assert ran.result()["auto"]["plan"]["epochs"] == chosen.result()["auto"]["plan"]["epochs"]
    assert ran.result()["weights_sha256"] == chosen.result()["weights_sha256"]


def test_without_time_the_network_stays_frozen(commands: Commands) -> None:
    ran = commands.run("train.py", *SMALL, "recipe=auto", "budget=1s")
    assert ran.code == 0, ran.err
    assert ran.result()["auto"]["plan"]["freeze"] == "all"
    assert [stage["name"] for stage in ran.result()["stages"]] == ["bottleneck"]
    wanted = re.search(r"budget=(\d+m) would train", ran.out)
    assert wanted, "it says what time would be enough"


def test_what_a_frozen_network_cannot_have_is_left_out_and_named(commands: Commands) -> None:
    arguments = ("augment.flip=true", "cache.views=2", "optimizer.learning_rate=auto")
    ran = commands.run("train.py", *SMALL, "recipe=auto", "budget=1s", *arguments)
    assert ran.code == 0, ran.err
    assert f"left out, as the network stays frozen: {' '.join(arguments)}" in ran.out
    assert [stage["name"] for stage in ran.result()["stages"]] == ["bottleneck"]


def test_what_an_experiment_sets_for_training_in_steps_is_undone_where_the_network_stays_frozen(
    commands: Commands, tmp_path: Path
) -> None:
    experiment = tmp_path / "experiment" / "flipped.yaml"
    experiment.parent.mkdir()
    lines = ["# @package _global_", "augment: {flip: true, mixup: 0.2}", "cache: {views: 2}"]
    experiment.write_text("\n".join([*lines, "optimizer: {learning_rate: auto}"]))
    ran = commands.run("train.py", f"--config-dir={tmp_path}", *SMALL, "experiment=flipped", "recipe=auto", "budget=1s")
    assert ran.code == 0, ran.err
    undone = "augment.flip=False augment.mixup=0.0 cache.views=0 optimizer.learning_rate=0.0001"
    assert f"set, as the network stays frozen: {undone}" in ran.out
    assert [stage["name"] for stage in ran.result()["stages"]] == ["bottleneck"]


def test_networks_are_compared_only_where_building_them_leaves_time_to_train(commands: Commands) -> None:
    ran = commands.run("train.py", *SMALL, "recipe=auto", "budget=25s")
    assert ran.code == 0, ran.err
    said = re.search(
        r"none was compared; budget=[1-9]\d*m would compare efficientnet_lite1, efficientnet_lite2", ran.out
    )
    assert said, ran.out
    assert "efficientnet_lite1: accuracy" not in ran.out


def test_where_no_two_epochs_fit_pictures_are_smaller(commands: Commands) -> None:
    config = Config(
        outputs=str(commands.outputs),
        backbone=BackboneConfig(name="efficientnet_lite0", image_size=128),
        dataset=DatasetConfig(name="digits", limit_per_class=12),
        finetune=FinetuneConfig(batchnorm="trainable"),
        cache=CacheConfig(dir=str(commands.folder / "smaller")),
    )
    prepared = prepare_network(config)
    weights = prepared.network.backbone.model.get_weights()
    (block5c,) = (each for each in candidate_depths(prepared.network.backbone.graph) if each.block == "block5c")
    depths = [TimedDepth(block5c, 1000.0)]  # as on a slow machine
    assert choose_plan(depths, 5, 3000 - seconds_around(prepared, depths)[1]).freeze == "all"
    same, _ = at_smaller_side(prepared, depths, 5, 2500)
    assert same is prepared, "nothing fits at 96 pixels either"
    smaller, timed = at_smaller_side(prepared, depths, 5, 3000)
    assert smaller.network.backbone.image_size == smaller.config.backbone.image_size == 96
    assert [(each.depth.block, each.depth.shape) for each in timed] == [("block5c", (6, 6, 112))]
    assert 0 < timed[0].epoch_seconds < 1000, "timed anew"
    timed_depths(prepared, 1000.0)
    after = prepared.network.backbone.model.get_weights()
    assert all(map(np.array_equal, weights, after)), "timing trains nothing, BatchNorm's statistics neither"


def test_what_fits_once_solving_is_measured_is_thawed(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(
        recipe="auto",
        outputs=str(commands.outputs),
        backbone=BackboneConfig(name="efficientnet_lite0", image_size=64),
        dataset=DatasetConfig(name="digits", limit_per_class=12),
        head=HeadConfig(name="logistic"),
        cache=CacheConfig(dir=str(commands.folder / "solved")),
    )
    monkeypatch.setattr(auto_recipe, "_SOLVING", 1e6)  # nothing fits until it has been measured
    choice = auto_recipe.choose_recipe(config, 600.0, time.monotonic(), compare_networks=False)
    assert choice.record["plan"]["freeze"] == "block5c", "the only boundary that was timed"
    assert "finetune.freeze=block5c" in choice.overrides


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("budget=5",), "budget=5 is no time: write it as 90s, 5m, 1h or 1h30m"),
        (("finetune.freeze=block5c",), "recipe=auto chooses finetune.freeze: leave it out"),
        (("-m", "seed=0,1"), "recipe=auto chooses its settings itself: leave -m out"),
        (("backbone.weights=none",), "backbone.weights=none has random weights"),
        (("optimizer.warmup_epochs=1",), "optimizer.warmup_epochs=1 may be longer than what recipe=auto has time for"),
    ],
)
def test_what_contradicts_it_is_refused(commands: Commands, arguments: tuple[str, ...], said: str) -> None:
    ran = commands.run("train.py", *SMALL, "recipe=auto", *arguments)
    assert ran.code == 1
    assert said in ran.err


def test_a_run_whose_time_was_up_is_reproduced_bit_for_bit(commands: Commands) -> None:
    config = Config(
        outputs=str(commands.outputs),
        report="none",
        dataset=DatasetConfig(name="digits", limit_per_class=12),
        finetune=FinetuneConfig(freeze="block5c", epochs=3, head_epochs=1),
        cache=CacheConfig(dir=str(commands.folder / "time")),
        tracking=TrackingConfig(uri=f"sqlite:///{commands.outputs}/mlflow.db"),
    )
    folder = commands.folder / "late"
    result = run(config, Job(ROOT, folder, deadline=time.monotonic()))
    assert [stage["epochs"] for stage in result.stages] == [1, 1], "of three epochs one"
    asked = ReproduceConfig(
        run=result.run_id, outputs=str(commands.outputs), tracking_uri=f"sqlite:///{commands.outputs}/mlflow.db"
    )
    assert reproduce.reproduce(asked, ROOT) == 0
    (report,) = commands.outputs.glob("reproduced/*/*/reproduction.json")
    verdict = json.loads(report.read_text())["verdict"]
    assert verdict == "identical"

"""train.py as a user runs it: a subprocess, then a look at what it left in the store and on disk."""

import csv
import json
from pathlib import Path

import pytest
import yaml

SMALL = ("dataset=image_folder", "backbone=efficientnet_lite0", "backbone.image_size=64", "train.batch_size=8")


@pytest.fixture(scope="module")
def finetuned(commands, photos):
    """The default recipe with the real weights, gradual: head, then two thaws."""
    ran = commands.run(
        *SMALL, f"dataset.path={photos}", "head.hidden=32", "optimizer.learning_rate=1e-3", "optimizer.schedule=cosine",
        "report=full",
        "finetune.stages=[{name:head,freeze:all,epochs:3},{name:top,freeze:block7a_expand_activation,epochs:1},"
        "{name:more,freeze:block6c,epochs:2}]",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    return ran


@pytest.fixture(scope="module")
def stored(commands, finetuned):
    return commands.client().get_run(finetuned.result()["run_id"])


def test_real_weights_learn_a_new_task(finetuned) -> None:
    assert finetuned.result()["metrics"]["test/accuracy"] >= 0.8  # chance: 0.33


def test_the_plan_is_printed_before_training(finetuned) -> None:
    lines = finetuned.out.splitlines()
    plans = [i for i, line in enumerate(lines) if line.startswith("stage ") and "frozen" in line]
    assert len(plans) == 3
    assert max(plans) < next(i for i, line in enumerate(lines) if " epoch 1 " in line)
    assert "inside block block7a · cut" in finetuned.out
    assert finetuned.out.count("unchanged bit for bit") == 3


def test_the_kept_network_says_what_the_engine_said(finetuned, stored) -> None:
    assert stored.data.metrics["parity/images"] in (8, 12)  # all of validation and test, if the machine is fast enough
    assert stored.data.metrics["parity/differ"] <= 1
    assert stored.data.metrics["parity/max_probability_difference"] < 0.1
    assert "get the same class from the kept network" in finetuned.out
    assert stored.data.tags["thaw.parity"] == "passed"
    assert finetuned.result()["parity"]["passed"] is True
    assert finetuned.result()["parity"]["judged_with"] == finetuned.result()["engine"]
    assert finetuned.result()["engine"]["engine"] in ("openvino", "tensorflow")
    assert stored.data.tags["thaw.precision"] == finetuned.result()["engine"]["trained"]


def test_the_cuts_of_later_stages_are_computed_on_the_way(finetuned) -> None:
    """60 images run once through the frozen layers, for all three stages."""
    cache = finetuned.result()["cache"]
    assert (cache["hits"], cache["misses"]) == (120, 60)
    assert finetuned.out.count("60 from the cache, 0 computed") == 2


def test_nothing_but_the_run_reaches_the_terminal(finetuned) -> None:
    assert finetuned.err == ""


def test_result_json_keeps_its_contract(finetuned, stored) -> None:
    result = finetuned.result()
    assert set(result) >= {
        "run_id", "objective", "metrics", "stages", "seconds", "images_per_second", "cache", "weights_sha256",
        "config_sha256", "data_sha256", "model", "class_names",
    }  # fmt: skip
    assert result["objective"] == {"name": "val/accuracy", "value": result["metrics"]["val/accuracy"]}
    assert [stage["name"] for stage in result["stages"]] == ["head", "top", "more"]
    assert [stage["frozen_layers"] for stage in result["stages"]] == [150, 142, 129]
    assert [stage["epochs"] for stage in result["stages"]] == [3, 1, 2]
    assert result["stages"][0]["trainable_params"] == 1280 * 32 + 32 + 32 * 3 + 3
    assert set(result["stages"][0]) >= {"seconds", "learning_rate", "boundary"}
    assert set(result["seconds"]) >= {"total", "scan", "extract", "train", "evaluate"}
    assert set(result["metrics"]) >= {"test/loss", "test/macro_f1", "val/accuracy", "test/class/lime/recall"}
    assert result["class_names"] == ["apple", "lime", "sky"]
    assert all(len(result[key]) == 64 for key in ("weights_sha256", "config_sha256", "data_sha256"))
    assert stored.data.metrics["test/accuracy"] == result["metrics"]["test/accuracy"]


def test_the_store_knows_config_overrides_and_fingerprint(stored) -> None:
    assert stored.info.status == "FINISHED"
    assert stored.data.params["backbone.name"] == "efficientnet_lite0"
    assert stored.data.params["optimizer.schedule"] == "cosine"
    assert "train.batch_size=8" in stored.data.tags["thaw.overrides"]
    for key in ("git.commit", "package.tensorflow", "cpu.model", "data_sha256", "weights_sha256", "seed"):
        assert stored.data.tags[f"fingerprint.{key}"]
    assert stored.inputs.dataset_inputs[0].dataset.digest == stored.data.tags["fingerprint.data_sha256"][:36]


def test_epochs_of_all_stages_lie_on_one_axis(commands, stored) -> None:
    history = commands.client().get_metric_history(stored.info.run_id, "epoch/loss")
    assert [point.step for point in history] == [1, 2, 3, 4, 5, 6]
    for name in ("epoch/accuracy", "epoch/val_loss", "epoch/images_per_second"):
        assert len(commands.client().get_metric_history(stored.info.run_id, name)) == 6
    assert len(commands.client().get_metric_history(stored.info.run_id, "val/accuracy")) == 1
    numbers = commands.client().get_metric_history(stored.info.run_id, "epoch/stage")
    assert [point.value for point in numbers] == [0, 0, 0, 1, 2, 2]
    assert [stored.data.tags[f"thaw.stage.{i}"] for i in range(3)] == ["head", "top", "more"]
    trainable = commands.client().get_metric_history(stored.info.run_id, "stage/trainable_params")
    assert [point.step for point in trainable] == [1, 4, 5]
    rates = [point.value for point in commands.client().get_metric_history(stored.info.run_id, "epoch/learning_rate")]
    assert rates[0] == pytest.approx(1e-3)  # rmsprop, constant
    assert rates[4] > rates[5]  # adamw, cosine


def test_artifacts_are_kept(commands, finetuned, stored) -> None:
    client = commands.client()
    names = {f.path for folder in ("", "report", "network") for f in client.list_artifacts(stored.info.run_id, folder)}
    assert names >= {
        "config.yaml", "overrides.txt", "manifest.csv", "result.json", "report/curves.png", "report/confusion.png",
        "report/per_class.csv", "report/predictions.csv", "report/history.json", "network/classes.json",
    }  # fmt: skip
    local = client.download_artifacts(stored.info.run_id, "manifest.csv", str(commands.folder))
    rows = list(csv.DictReader(Path(local).read_text().splitlines()))
    assert len(rows) == 60
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    local = client.download_artifacts(stored.info.run_id, "config.yaml", str(commands.folder))
    config = yaml.safe_load(Path(local).read_text())
    assert config["finetune"]["stages"][1]["freeze"] == "block7a_expand_activation"


def test_the_same_command_gives_the_same_weights(commands, photos, finetuned) -> None:
    again = commands.run(*_overrides(commands, finetuned))
    assert again.code == 0, again.err
    first, second = finetuned.result(), again.result()
    assert second["weights_sha256"] == first["weights_sha256"]
    assert second["metrics"] == first["metrics"]
    assert second["data_sha256"] == first["data_sha256"]


def _overrides(commands, ran) -> list[str]:
    run_id = ran.result()["run_id"]
    file = commands.client().download_artifacts(run_id, "overrides.txt", str(commands.folder))
    return Path(file).read_text().splitlines()


@pytest.fixture(scope="module")
def swept(commands, photos, finetuned):
    """A sweep over recipes and an impossible boundary; its weights are those that the first run kept."""
    return commands.run(
        "-m", *SMALL, f"dataset.path={photos}", f"backbone.weights={finetuned.result()['run_id']}", "head=linear",
        "bottleneck.epochs=8", "finetune.head_epochs=1", "finetune.epochs=1", "recipe=bottleneck,finetune",
        "finetune.freeze=all,blok6c",
    )  # fmt: skip


def test_a_sweep_has_a_parent_and_a_child_for_each_job(commands, swept) -> None:
    client = commands.client()
    experiment = client.get_experiment_by_name("thaw").experiment_id
    parents = [r for r in client.search_runs([experiment]) if "thaw.sweep" in r.data.tags]
    assert len(parents) == 1
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parents[0].info.run_id}'")
    by_status = sorted((c.info.status, c.data.params["recipe"]) for c in children)
    assert by_status == [
        ("FAILED", "finetune"), ("FINISHED", "bottleneck"), ("FINISHED", "bottleneck"), ("FINISHED", "finetune"),
    ]  # fmt: skip
    assert parents[0].info.status == "FAILED"
    assert "Did you mean 'block6c'?" in parents[0].data.tags["thaw.reason"]
    failed = next(c for c in children if c.info.status == "FAILED")
    assert "Did you mean 'block6c'?" in failed.data.tags["thaw.reason"]
    assert swept.code == 1
    assert "blok6c is neither a layer nor a block of efficientnet_lite0" in swept.err
    assert "Traceback" not in swept.err


def test_weights_of_a_run_can_be_taken_up_again(commands, swept) -> None:
    client = commands.client()
    runs = client.search_runs([client.get_experiment_by_name("thaw").experiment_id], "params.recipe = 'bottleneck'")
    assert all(run.data.metrics["test/accuracy"] >= 0.8 for run in runs)


def test_bottleneck_keeps_its_features_in_files(commands, swept) -> None:
    files = sorted(f.name for f in commands.outputs.glob("sweeps/*/*/0/features/*"))
    splits = ("test", "train", "val")
    assert files == [f"{split}-{what}.npy" for split in splits for what in ("0", "indices")]


def test_of_a_sweep_only_the_best_so_far_is_complete(commands, swept) -> None:
    """The others keep their figures; the parent's best run is always among the complete ones."""
    client = commands.client()
    experiment = client.get_experiment_by_name("thaw").experiment_id
    (parent,) = (r for r in client.search_runs([experiment]) if "thaw.sweep" in r.data.tags)
    children = client.search_runs(
        [experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'", order_by=["attributes.start_time ASC"]
    )
    best = None
    for child in (c for c in children if c.info.status == "FINISHED"):
        ours = child.data.metrics["objective"]
        complete = best is None or ours > best
        best = ours if complete else best
        assert child.data.tags["thaw.complete"] == str(complete)
        names = {f.path for f in client.list_artifacts(child.info.run_id)}
        assert ("report" in names, "network" in names) == (complete, complete)
        assert "result.json" in names
        assert "parity/images" in child.data.metrics
    chosen = client.get_run(parent.data.tags["thaw.best_run"])
    assert chosen.data.tags["thaw.complete"] == "True"


def test_a_job_trains_the_same_network_on_the_backbone_of_the_job_before(swept, commands) -> None:
    """`finetune.freeze` says nothing to recipe=bottleneck: the second job repeats the first, with its backbone."""
    first, second = (
        json.loads((folder / "result.json").read_text()) for folder in sorted(commands.outputs.glob("sweeps/*/*/[01]"))
    )
    assert first["weights_sha256"] == second["weights_sha256"]
    assert first["metrics"] == second["metrics"]


def test_another_head_finds_its_features_in_the_cache(commands, photos, swept) -> None:
    """The sweep's backbone was the first run's weights: its features are there, whatever head and rate."""
    results = [json.loads(f.read_text()) for f in sorted(commands.outputs.glob("sweeps/*/*/*/result.json"))]
    first, *later = (r for r in results if len(r["stages"]) == 1)
    assert (first["cache"]["hits"], first["cache"]["misses"]) == (0, 60)
    assert all((r["cache"]["hits"], r["cache"]["misses"]) == (60, 0) for r in later)


def test_a_budget_too_small_for_anything_ends_well_and_still_exports_features(commands) -> None:
    ran = commands.run(
        "dataset=digits", "dataset.limit_per_class=5", "recipe=bottleneck", "backbone.image_size=32",
        "bottleneck.epochs=1", "cache.max_gb=0.0001", "cache.dir=small", "tracking.log_model=false",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "keep nothing" in ran.out
    assert "parity: " in ran.out
    result = ran.result()
    assert result["cache"] == {"hits": 0, "misses": 0, "bytes": 0}
    assert len(list(Path(result["model"]).parent.parent.glob("features/*-0.npy"))) == 3


def test_the_cache_is_listed_verified_and_cleared(commands, finetuned, swept) -> None:
    assert "sound" in commands.run("scripts/cache.py", "action=verify").out
    listing = commands.run("scripts/cache.py")
    assert listing.code == 0, listing.err
    assert "activations" in listing.out
    assert "efficientnet_lite0" in listing.out
    assert "pixels" in listing.out


def test_bottleneck_on_features_in_a_file_and_a_loss_that_explodes(commands, photos) -> None:
    """Two jobs of one sweep: one sound, with two classes on a sigmoid; one with a rate that no training survives."""
    two = commands.folder / "two"
    for name in ("apple", "lime"):
        (two / name).parent.mkdir(exist_ok=True)
        if not (two / name).exists():
            (two / name).symlink_to(photos / name)
    ran = commands.run(
        "-m", "recipe=bottleneck", *SMALL, f"dataset.path={two}", "head=flatten_dense", "head.hidden=16",
        "head.output=sigmoid", "bottleneck.epochs=4", "train.class_weight=balanced", "train.patience=3",
        "optimizer.learning_rate=1e-3,1e30", "tracking.experiment=two", "head.label_smoothing=0.1",
    )  # fmt: skip
    client = commands.client()
    runs = client.search_runs([client.get_experiment_by_name("two").experiment_id], "tags.thaw.recipe = 'bottleneck'")
    good = next(r for r in runs if r.data.params["optimizer.learning_rate"] == "0.001")
    bad = next(r for r in runs if r.data.params["optimizer.learning_rate"] == "1e+30")
    assert good.info.status == "FINISHED", ran.err
    assert good.data.metrics["test/accuracy"] >= 0.75
    epochs = [point.value for point in client.get_metric_history(good.info.run_id, "epoch/val_loss")]
    assert good.data.metrics["val/loss"] == pytest.approx(min(epochs), rel=1e-4), "without smoothing, of the best epoch"
    assert bad.info.status == "FAILED"
    assert "Lower the learning rate" in bad.data.tags["thaw.reason"] or "diverged" in bad.data.tags["thaw.reason"]


def test_a_table_with_groups_in_two_folds_gives_mean_and_deviation(commands, photos) -> None:
    """Twice as many apples as of the others; pictures of one shoot, four in a row, stay together."""
    table = commands.folder / "labels.csv"
    names = [(label, i) for label, count in (("apple", 20), ("lime", 12), ("sky", 12)) for i in range(count)]
    rows = [f"{photos / label / f'{i:02}.jpg'},{label},{label}-{i // 4}" for label, i in names]
    table.write_text("\n".join(["path,label,group", *rows[::-1]]))
    ran = commands.run(
        "-m", "recipe=bottleneck", *SMALL[1:], "dataset=csv", f"dataset.path={table}", "head=linear",
        "bottleneck.epochs=6", "train.sampling=balanced", "split.folds=2", "split.fold=range(2)",
        "tracking.experiment=folds", "dataset.test_fraction=0.2",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "fold 1 of 2 (counted from 0) validates, the others train" in ran.out
    assert "times as many · made up for by train.sampling=balanced" in ran.out
    client = commands.client()
    runs = client.search_runs([client.get_experiment_by_name("folds").experiment_id])
    (parent,) = (run for run in runs if "thaw.sweep" in run.data.tags)
    values = [run.data.metrics["val/accuracy"] for run in runs if run is not parent]
    assert parent.data.metrics["val/accuracy_mean"] == pytest.approx(sum(values) / 2)
    assert parent.data.metrics["val/accuracy_std"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert f"2 folds · val accuracy {sum(values) / 2:.4f} ± " in ran.out
    file = next(line for line in ran.out.splitlines() if line.startswith("folds ")).removeprefix("folds ")
    (setting,) = json.loads((commands.folder / file).read_text())
    assert setting["metrics"]["val/accuracy"]["n"] == 2
    sides: dict[str, set[str]] = {}
    for name in csv.DictReader(
        (commands.folder / file).with_name("0").joinpath("manifest.csv").read_text().splitlines()
    ):
        shoot = f"{name['label']}-{int(name['path'][-6:-4]) // 4}"
        sides.setdefault(shoot, set()).add(name["split"])
    assert len(sides) == 11
    assert all(len(splits) == 1 for splits in sides.values())


def test_scratch_trains_the_baseline_to_its_end(commands) -> None:
    ran = commands.run("recipe=scratch", "dataset=digits", "scratch.epochs=4", "augment=light", "augment.flip=false")
    assert ran.code == 0, ran.err
    assert ran.result()["metrics"]["test/accuracy"] >= 0.8  # chance: 0.1
    (stage,) = ran.result()["stages"]
    assert (stage["name"], stage["epochs"], stage["frozen_layers"]) == ("scratch", 4, 0)
    assert "proved: nothing was frozen, every thawed layer moved" in ran.out


def test_inception_at_172_trains_from_random_weights(commands) -> None:
    ran = commands.run(
        "backbone=inceptionv3", "finetune.freeze=172", "backbone.weights=none", "backbone.image_size=75",
        "dataset=digits", "dataset.limit_per_class=4", "finetune.head_epochs=1", "finetune.epochs=1",
        "tracking.log_model=false", "precision=float32",  # untrained, all classes are as good as equally likely
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "frozen 172/311 · boundary conv2d_51, inside block mixed6 · cut 3 tensors" in ran.out
    assert ran.result()["stages"][1]["frozen_layers"] == 172


def test_predict_gives_the_runs_own_predictions(commands, photos, finetuned) -> None:
    run_id = finetuned.result()["run_id"]
    listing = commands.run("scripts/predict.py", f"model={run_id[:8]}", f"images={photos}", "format=csv", "top=1")
    assert listing.code == 0, listing.err
    rows = {Path(row["image"]).relative_to(photos).as_posix(): row for row in csv.DictReader(listing.out.splitlines())}
    assert len(rows) == 60
    report = Path(finetuned.result()["model"]).parents[1] / "report" / "predictions.csv"
    predictions = list(csv.DictReader(report.read_text().splitlines()))
    assert len(predictions) == 6
    for row in predictions:
        assert rows[row["image"]]["class"] == row["predicted"]
        assert float(rows[row["image"]]["probability"]) == pytest.approx(float(row["confidence"]), abs=1e-6)


def test_predict_with_a_stock_network_goes_on_past_a_bad_file(commands, photos) -> None:
    (commands.folder / "loose").mkdir()
    (commands.folder / "loose" / "good.jpg").write_bytes((photos / "sky" / "00.jpg").read_bytes())
    (commands.folder / "loose" / "bad.jpg").write_bytes(b"not a picture")
    ran = commands.run("scripts/predict.py", "images=loose/*.jpg", "format=json", "top=9")
    assert ran.code == 1
    assert "1 of 2 files could not be read" in ran.err
    assert "bad.jpg" in ran.err
    (entry,) = json.loads(ran.out)
    assert len(entry["predictions"]) == 9
    assert sum(guess["probability"] for guess in entry["predictions"]) <= 1.0001


@pytest.mark.slow
def test_the_genuine_mobilenet_file_is_far_above_chance(commands) -> None:
    file = Path(__file__).parents[2] / "shared" / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    if not file.is_file():
        pytest.skip("the genuine weights file mobilenet_2_5_224_tf_no_top.h5 is not beside this checkout")
    ran = commands.run(
        "recipe=bottleneck", "backbone=mobilenet", "backbone.alpha=0.25", f"backbone.weights={file}",
        "backbone.image_size=96", "dataset=digits", "tracking.log_model=false",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.result()["metrics"]["test/accuracy"] >= 0.8  # chance: 0.1

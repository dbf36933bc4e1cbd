"""Stages on a small real network: what moves, what does not, and that kept activations change nothing."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from thaw.cache import DiskCache
from thaw.common import tensorflow_setup
from thaw.config.schema import (  # fmt: skip
    AugmentConfig,
    BackboneConfig,
    CheckpointConfig,
    HeadConfig,
    OptimizerConfig,
    TrainConfig,
)
from thaw.data import pixels
from thaw.data.catalog import Catalog
from thaw.data.dataset import Dataset
from thaw.data.splits import Splits
from thaw.frozen.engine import EngineChoice
from thaw.models import freeze, freeze_proof
from thaw.results.metrics import evaluate
from thaw.training.callbacks import Diverged
from thaw.training.checkpoint import CheckpointDir
from thaw.training.recipes import TrainingStage

INPUTS_OF_PLAN = SimpleNamespace(views=0)
HEAD, NO_DROPOUT = HeadConfig(name="linear", dropout=0.2), HeadConfig(name="linear")


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    labels = np.arange(48, dtype=np.int32) % 3
    arrays = rng.integers(0, 90, (48, 32, 32, 3)).astype(np.uint8)
    for i, label in enumerate(labels):
        arrays[i, :, :, label] += 120
    names = tuple(f"x/{i}" for i in range(48))
    catalog = Catalog(names, None, arrays, labels, ("r", "g", "b"), np.full(48, -1, np.int8))
    splits = Splits(np.arange(30), np.arange(30, 39), np.arange(39, 48))
    return Dataset(pixels.of_catalog(catalog, splits.all_indices(), 64), splits, AugmentConfig(), seed=0)


def run(data: Dataset, folder: Path, *, request: object, batchnorm: str = "frozen", max_gb: float = 1.0, **options):
    """One stage on a fresh network with random weights; returns network, result, and hashes before it."""
    from thaw.models import backbones, network
    from thaw.training.checkpoint_callback import StageCheckpointer
    from thaw.training.resume_state import checkpointed_variables
    from thaw.training.stage_plans import StageInputs, plan_stages
    from thaw.training.stages import run_stage

    tensorflow_setup.start_tensorflow(0, deterministic=True)
    config = BackboneConfig(name="mobilenet", alpha=0.25, image_size=64, weights="none")
    built = calibrated(backbones.build_backbone(config), data)
    head = options.pop("head", HEAD)
    joined = network.attach_head(built, head, options.pop("classes", ("r", "g", "b")))
    cuts = options.pop("cuts", None)
    optimizer = options.pop("optimizer", OptimizerConfig(name="sgd", learning_rate=1e-5, momentum=0.9))
    solved = head.name == "logistic"
    stage = TrainingStage(0, "stage", request, batchnorm, options.pop("epochs", 3), 0, optimizer, solved=solved)
    meanwhile = options.pop("meanwhile", lambda planned: None)
    choice = EngineChoice(
        options.pop("engine", "tensorflow"), "test", *options.pop("precisions", ("float32", "float32"))
    )
    choice = replace(choice, training_step=options.pop("training_step", choice.training_step))
    inputs = StageInputs(
        choice,
        DiskCache(folder, max_gb * 1e9),
        options.pop("views", 0),
        config,
        TrainConfig(batch_size=8, **options),
        head,
    )
    before = freeze_proof.weight_hashes(built.layers)
    (planned,) = plan_stages([stage], joined, data, inputs, cuts)
    meanwhile(planned)
    variables = checkpointed_variables(joined, [planned])
    checkpointer = StageCheckpointer(CheckpointDir(folder / "checkpoints", 2, "run"), CheckpointConfig(), 0, variables)
    result = run_stage(
        planned, joined, data, inputs, checkpointer=checkpointer, predict_splits=("val", "test"),
        on_start=lambda trainable: None, on_epoch=lambda entry: None,
    )  # fmt: skip
    return joined, result, before


def calibrated(built, data: Dataset):
    """Give BatchNorm the statistics of the images: random weights alone let the features fade to zero."""
    normalizations = [x for x in built.layers if hasattr(x, "moving_mean")]
    for x in normalizations:
        x.momentum = 0.0
    built.model([data.pixels.take(data.splits.train).astype(np.float32)], training=True)
    for x in normalizations:
        x.momentum = 0.99
    return built


LOGISTIC = {"request": "all", "head": HeadConfig(name="logistic"), "epochs": 1}


def test_a_head_that_is_solved_for_is_logistic_regression_on_the_features(data, tmp_path: Path) -> None:
    """Kept features, a cut before them, and no cache: one solution; the network end to end answers as it says."""
    from thaw.training import logistic_regression

    joined, kept, _ = run(data, tmp_path, **LOGISTIC)
    import keras

    features = keras.Model(joined.model.inputs, joined.pooled_features)
    train, val = (
        features.predict(data.pixels.take(indices).astype(np.float32), verbose=0)
        for indices in (data.splits.train, data.splits.val)
    )
    expected = logistic_regression.solve(train, data.labels("train"), 3, seed=data.seed)
    loss, accuracy = logistic_regression.figures(expected, val, data.labels("val"))
    (entry,) = kept.fit.history
    assert (entry["epoch"], entry["val_accuracy"]) == (1, accuracy)
    assert entry["val_loss"] == pytest.approx(loss, rel=1e-2)
    end_to_end = joined.model.predict(data.pixels.take(data.splits.test).astype(np.float32), verbose=0)
    np.testing.assert_allclose(kept.probabilities["test"], end_to_end, atol=1e-4)
    for options in ({"max_gb": 0.0}, {"cuts": [40]}):
        _, other, _ = run(data, tmp_path / "other", **options, **LOGISTIC)
        np.testing.assert_allclose(losses(other), losses(kept), rtol=1e-2)


def test_it_sees_each_training_image_once_and_as_it_is(data, tmp_path: Path) -> None:
    _, plain, _ = run(data, tmp_path, **LOGISTIC)
    augmented = replace(data, augment=AugmentConfig(name="light", flip=True, shift=0.3))
    for views in (0, 2):
        _, result, _ = run(augmented, tmp_path, views=views, **LOGISTIC)
        assert losses(result) == losses(plain)
        assert (result.hits, result.misses) == (48, 0)


def test_a_sigmoid_is_solved_for_too(data, tmp_path: Path) -> None:
    catalog = replace(data.pixels.catalog, labels=data.pixels.catalog.labels % 2, class_names=("even", "odd"))
    two = replace(data, pixels=pixels.of_catalog(catalog, data.splits.all_indices(), 64))
    softmax, sigmoid = (
        run(two, tmp_path, **{**LOGISTIC, "head": HeadConfig(name="logistic", output=output)}, classes=("even", "odd"))[
            1
        ]
        for output in ("softmax", "sigmoid")
    )
    np.testing.assert_allclose(sigmoid.probabilities["test"][:, -1], softmax.probabilities["test"][:, 1], atol=1e-5)


def losses(result, *names: str) -> list[float]:
    return [entry[name] for name in names or ("loss", "val_loss") for entry in result.fit.history]


def moved(before: dict, after: dict, name: str) -> set[str]:
    return {path.split("/")[-1] for path, digest in before[name].items() if after[name][path] != digest}


@pytest.mark.parametrize("batchnorm", ["frozen", "trainable"])
def test_statistics_move_only_where_asked_and_thawed(data, tmp_path: Path, batchnorm: str) -> None:
    joined, _, before = run(data, tmp_path, request="conv_pw_11", batchnorm=batchnorm)
    after = freeze_proof.weight_hashes(joined.backbone.layers)
    assert moved(before, after, "conv_pw_11_bn") == set()
    statistics = {"moving_mean", "moving_variance"} if batchnorm == "trainable" else set()
    assert moved(before, after, "conv_pw_13_bn") == {"gamma", "beta"} | statistics
    assert moved(before, after, "conv_pw_13") == {"kernel"}


def test_kept_activations_train_as_live_ones_do(data, tmp_path: Path) -> None:
    """Computed once, taken from the cache, run on the engine every epoch, or on TensorFlow: the same losses."""
    three_tensors = {"request": 40, "epochs": 2}
    _, first, _ = run(data, tmp_path, engine="openvino", **three_tensors)
    _, cached, _ = run(data, tmp_path, engine="openvino", **three_tensors)
    _, live, _ = run(data, tmp_path, engine="openvino", max_gb=0.0, **three_tensors)
    _, tensorflow, _ = run(data, tmp_path, max_gb=0.0, **three_tensors)
    assert [(r.hits, r.misses) for r in (first, cached, live)] == [(0, 48), (48, 0), (0, 0)]
    assert losses(cached) == losses(first)
    assert losses(live) == losses(first)
    np.testing.assert_allclose(losses(tensorflow), losses(first), rtol=1e-3)
    np.testing.assert_allclose(cached.probabilities["test"], tensorflow.probabilities["test"], atol=1e-2)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_cut_that_was_chosen_for_want_of_room_gives_the_same_losses_kept_or_not(
    data, tmp_path: Path, precision: str
) -> None:
    """As of a run that is resumed or done again where there is more room, or less."""
    precisions = (precision, "float32")
    cheap = {"request": "conv_pw_11_relu", "epochs": 2, "cuts": [40], "engine": "openvino", "precisions": precisions}
    _, cached, _ = run(data, tmp_path, **cheap)
    _, live, _ = run(data, tmp_path, max_gb=0.0, **cheap)
    assert [(r.hits, r.misses) for r in (cached, live)] == [(0, 48), (0, 0)]
    assert losses(live) == losses(cached)


def test_training_on_kept_activations_is_training_the_network_in_keras(data, tmp_path: Path) -> None:
    """Against nothing of ours: the same start and the same batches, by `fit` of the whole flat network."""
    import keras

    joined, cached, _ = run(data, tmp_path, request="conv_pw_11", head=HeadConfig(name="linear"))
    plain, _, _ = run(data, tmp_path / "other", request="all", epochs=1, head=HeadConfig(name="linear"))
    start = fresh_weights(data)
    plain.model.set_weights(start)
    freeze.set_trainable(plain.backbone.layers, plain.backbone.graph.layers.index(layer(plain, "conv_pw_11_relu")) + 1)
    for normalization in (x for x in plain.backbone.layers if isinstance(x, keras.layers.BatchNormalization)):
        normalization.call = inference(normalization.call)  # batchnorm=frozen: their statistics stay
    plain.model.compile(
        keras.optimizers.SGD(1e-5, momentum=0.9), "categorical_crossentropy", metrics=["accuracy"], jit_compile=False
    )
    batches = data.image_batches("train", 8, 0, training=True)
    for epoch in range(3):
        for i in range(len(batches)):
            images, targets = batches.batch(epoch, i)
            plain.model.train_on_batch([images.astype(np.float32)], targets)
    ours, theirs = (way(network.model.get_weights(), start) for network in (joined, plain))
    assert np.linalg.norm(theirs) > 1e-3
    assert np.linalg.norm(ours - theirs) < 1e-2 * np.linalg.norm(theirs)
    assert cached.misses == 48


def way(weights: list[np.ndarray], start: list[np.ndarray]) -> np.ndarray:
    """How far training has moved every weight."""
    return np.concatenate([(after - before).ravel() for after, before in zip(weights, start, strict=True)])


def fresh_weights(data: Dataset) -> list[np.ndarray]:
    """The weights that `run` starts from."""
    from thaw.models import backbones, network

    tensorflow_setup.start_tensorflow(0, deterministic=True)
    built = backbones.build_backbone(BackboneConfig(name="mobilenet", alpha=0.25, image_size=64, weights="none"))
    return network.attach_head(calibrated(built, data), HeadConfig(name="linear"), ("r", "g", "b")).model.get_weights()


def layer(network, name: str):
    return next(x for x in network.backbone.graph.layers if x.name == name)


def inference(call):
    return lambda inputs, training=None, mask=None: call(inputs, training=False)


def test_a_budget_too_small_for_the_boundary_takes_a_cheaper_cut_and_learns_the_same(data, tmp_path: Path) -> None:
    """The block's depthwise convolution has half the channels that its end has."""
    _, exact, _ = run(data, tmp_path / "a", request="conv_pw_12", head=HeadConfig(name="linear"))
    room = exact.cache_bytes / 1e9 - 1e-9
    _, cheaper, _ = run(data, tmp_path / "b", request="conv_pw_12", max_gb=room, head=HeadConfig(name="linear"))
    assert cheaper.cache_bytes == exact.cache_bytes / 2
    np.testing.assert_allclose(losses(cheaper), losses(exact), rtol=1e-5)


def test_an_earlier_cut_computes_the_same_network(data) -> None:
    """Frozen layers behind the cut run with the stage: with several cut tensors on either side, some of them shared."""
    from thaw.models import backbones, network

    tensorflow_setup.start_tensorflow(0, deterministic=True)
    built = backbones.build_backbone(BackboneConfig(name="mobilenetv2", alpha=0.35, image_size=64, weights="none"))
    calibrated(built, data)
    joined = network.attach_head(built, HEAD, ("r", "g", "b"))
    plan = freeze.make_plan(100, built.graph, "mobilenetv2", "frozen")
    images = data.pixels.take(data.splits.val).astype(np.float32)
    whole = joined.model([images], training=False).numpy()
    for at in (100, 99, 98, 60, 1, 0):
        parts = network.divide_network(joined, plan, network.cut_at(joined, at))
        cut = parts.frozen([images], training=False) if at else images
        cut = cut[0] if isinstance(cut, list) and len(cut) == 1 else cut
        np.testing.assert_allclose(parts.trained(cut, training=False).numpy(), whole, atol=1e-6)


def test_views_are_kept_and_cycled_over_the_epochs(data, tmp_path: Path) -> None:
    augmented = Dataset(data.pixels, data.splits, AugmentConfig(flip=True, shift=0.2), seed=0)
    _, two, _ = run(augmented, tmp_path, request="all", views=2, epochs=5)
    assert (two.hits, two.misses) == (0, 2 * 30 + 9 + 9)
    _, three, _ = run(augmented, tmp_path, request="all", views=3, epochs=5)
    assert (three.hits, three.misses) == (78, 30)  # one view more
    _, none, _ = run(augmented, tmp_path, request="all", views=0, epochs=5)
    assert (none.hits, none.misses) == (18, 0)  # validation and test images, which are never augmented
    assert losses(two) != losses(three)
    _, no_room, _ = run(augmented, tmp_path, request="all", views=2, epochs=5, max_gb=0.0)
    assert losses(no_room) == losses(two)


def free(monkeypatch: pytest.MonkeyPatch, bytes: float) -> None:
    """Let the disk have so many bytes free."""
    usage = shutil._ntuple_diskusage(1e12, 1e12 - bytes, int(bytes))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)


def test_a_disk_that_fills_up_while_activations_are_kept_costs_time_and_changes_nothing(
    data, tmp_path: Path, monkeypatch, capsys
) -> None:
    """In bfloat16, as rows are rounded to it when they are kept."""
    options = {"request": "conv_pw_12", "engine": "openvino", "precisions": ("bfloat16", "float32"), "epochs": 2}
    _, cached, _ = run(data, tmp_path / "a", **options)
    _, full, _ = run(data, tmp_path / "b", meanwhile=lambda planned: free(monkeypatch, 10_000), **options)
    assert "what cannot be kept is computed in every epoch: the cache cannot be written to" in capsys.readouterr().out
    assert (cached.misses, full.misses) == (48, 0)
    assert losses(full) == losses(cached)
    assert full.probabilities["test"].tobytes() == cached.probabilities["test"].tobytes()


def test_one_epoch_is_announced_as_one(data, tmp_path: Path, capsys) -> None:
    run(data, tmp_path, request="all", epochs=1)
    assert " images for 1 epoch\n" in capsys.readouterr().out


def test_a_disk_that_is_full_at_the_end_does_not_end_a_run_that_is_done(data, tmp_path: Path, monkeypatch) -> None:
    from thaw.frozen.inference import KerasReference

    network, *_ = run(data, tmp_path, request="all", epochs=1)
    config = BackboneConfig(name="mobilenet", alpha=0.25, image_size=64, weights="none")
    free(monkeypatch, 100)
    cached, uncached = (
        KerasReference(network, config, data.pixels, store).probabilities(data.splits.test)
        for store in (DiskCache(tmp_path, 1e9), None)
    )
    np.testing.assert_array_equal(cached, uncached)


def test_the_plan_keeps_what_the_disk_has_room_for_and_says_so(data, tmp_path: Path, monkeypatch) -> None:
    """Not what the budget alone allows: that would end in the middle of extraction."""
    plans = []

    class Enough(Exception):
        pass

    def stop(planned: object) -> None:
        plans.append(planned)
        raise Enough

    for bytes in (2e9, 150_000):
        free(monkeypatch, bytes)
        with pytest.raises(Enough):
            run(data, tmp_path, request="conv_pw_12", meanwhile=stop)
    large, small = plans
    assert (large.cut.cached, large.cut.index, large.budget.limited_by_disk) == (True, large.plan.boundary, False)
    assert small.budget.nbytes <= 150_000
    assert not small.cut.cached or small.cut.cached_bytes < small.budget.nbytes
    assert "that the disk has room for" in " ".join(small.summary_lines(None, data))


def test_bfloat16_trains_close_to_float32_and_leaves_a_float32_network(data, tmp_path: Path) -> None:
    _, exact, _ = run(data, tmp_path, request="conv_pw_11")
    half, rounded, _ = run(data, tmp_path, request="conv_pw_11", precisions=("bfloat16", "bfloat16"))
    assert rounded.misses == 48  # another precision is another key
    assert rounded.cache_bytes == exact.cache_bytes / 2
    assert losses(rounded) != losses(exact)
    np.testing.assert_allclose(losses(rounded, "loss"), losses(exact, "loss"), rtol=0.2)
    assert {x.dtype_policy.name for x in half.model._flatten_layers()} == {"float32"}
    assert {w.dtype for w in half.model.weights} == {"float32"}


def test_early_stopping_restores_the_best_weights(data, tmp_path: Path) -> None:
    """A rate that makes things worse after the first epochs: the final weights are not the last ones."""
    wild = OptimizerConfig(name="sgd", learning_rate=0.1)
    _, result, _ = run(data, tmp_path, request="all", optimizer=wild, patience=2, epochs=30)
    seen = losses(result, "val_loss")
    assert len(seen) < 30
    assert seen.index(min(seen)) == len(seen) - 3
    labels = data.labels("val")
    final = -np.log(np.clip(result.probabilities["val"][np.arange(len(labels)), labels], 1e-7, 1)).mean()
    assert final == pytest.approx(min(seen), rel=1e-3)


def test_what_is_done_to_activations_is_in_the_plan_and_changes_training_alone(data, tmp_path: Path) -> None:
    augment = AugmentConfig(place="activations", flip=True, shift=0.2, mixup=0.3)
    changed = replace(data, augment=augment)
    said: list[str] = []
    options = {"request": "conv_pw_10", "epochs": 2}

    def tell(planned) -> None:
        said.extend(planned.summary_lines(INPUTS_OF_PLAN, changed))

    _, plain, _ = run(data, tmp_path / "plain", **options)
    _, first, _ = run(changed, tmp_path / "a", meanwhile=tell, **options)
    _, again, _ = run(changed, tmp_path / "b", **options)
    assert said[-1] == (
        "  training activations are mirrored, moved by up to 0.2 of their side, mixed in pairs by Beta(0.3, 0.3) anew "
        "in every epoch"
    )
    assert first.misses == plain.misses == 48, "frozen layers ran once an image"
    assert losses(first) == losses(again)
    assert losses(first) != losses(plain)


def test_keep_best_ends_with_the_best_epoch_after_all_epochs(data, tmp_path: Path, capsys) -> None:
    wild = OptimizerConfig(name="sgd", learning_rate=0.1)
    options = {"request": "all", "optimizer": wild, "epochs": 5}
    _, last, _ = run(data, tmp_path / "last", **options)
    _, best, _ = run(data, tmp_path / "best", keep="best", **options)
    seen = losses(best, "val_loss")
    assert (losses(last, "val_loss"), len(seen)) == (seen, 5)
    assert seen[-1] > min(seen), "this run must get worse"
    labels, at = data.labels("val"), np.arange(9)
    final = [-np.log(np.clip(r.probabilities["val"][at, labels], 1e-7, 1)).mean() for r in (best, last)]
    assert final == pytest.approx([min(seen), seen[-1]], rel=1e-3)
    assert f"kept: epoch {seen.index(min(seen)) + 1}, which has the lowest" in capsys.readouterr().out


@pytest.mark.parametrize("training_step", ["keras", "folded"])
def test_each_block_learns_at_its_own_rate(data, tmp_path: Path, capsys, training_step: str) -> None:
    """One step with the same gradients: a kernel moves by its rate."""
    one_step = replace(data, splits=replace(data.splits, train=np.arange(8)))
    runs = {"whole": (0.01, 1.0), "by block": (0.01, 0.5), "before": (1e-30, 1.0)}
    kernels = {}
    for which, (rate, decay) in runs.items():
        optimizer = OptimizerConfig(name="sgd", learning_rate=rate, layer_decay=decay)
        joined, _, _ = run(
            one_step, tmp_path / which, request="conv_pw_10" if which != "before" else "all", optimizer=optimizer,
            epochs=1, head=NO_DROPOUT, training_step=training_step,
        )  # fmt: skip
        layers = {layer.name: layer for layer in [*joined.backbone.layers, *joined.model.layers]}
        kernels[which] = {name: layers[name].kernel.numpy() for name in ("conv_pw_11", "conv_pw_13", "predictions")}
    for name, factor in {"conv_pw_11": 0.125, "conv_pw_13": 0.5, "predictions": 1.0}.items():
        whole, part = (kernels[which][name] - kernels["before"][name] for which in ("whole", "by block"))
        np.testing.assert_allclose(part, factor * whole, atol=2e-3 * np.abs(whole).max(), err_msg=name)
    assert (
        "learning rates: conv_pw_11 0.0013 · conv_pw_12 0.0025 · conv_pw_13 0.005 · head 0.01"
        in capsys.readouterr().out
    )


def test_a_step_is_no_longer_than_the_rate_times_the_norm_to_which_gradients_are_clipped(data, tmp_path: Path) -> None:
    one_step = replace(data, splits=replace(data.splits, train=np.arange(8)))
    weights = {}
    for which, rate, norm in (("before", 1e-30, None), ("whole", 0.5, None), ("clipped", 0.5, 0.1)):
        optimizer = OptimizerConfig(name="sgd", learning_rate=rate, clip_norm=norm)
        joined, _, _ = run(
            one_step, tmp_path / which, request="conv_pw_10", optimizer=optimizer, epochs=1, head=NO_DROPOUT
        )
        weights[which] = np.concatenate([array.ravel() for array in joined.model.get_weights()]).astype(np.float64)
    whole, clipped = (weights[which] - weights["before"] for which in ("whole", "clipped"))
    assert np.linalg.norm(whole) > 0.5 * 0.1, "or nothing is clipped"
    assert np.linalg.norm(clipped) == pytest.approx(0.5 * 0.1, rel=1e-3)
    np.testing.assert_allclose(clipped / 0.05, whole / np.linalg.norm(whole), atol=1e-3, err_msg="one direction")


@pytest.mark.parametrize(
    "rate", [1e-3, 100.0]
)  # at 100 the network is sure of what is wrong, beyond what is told apart
def test_the_last_epochs_val_loss_is_the_runs_val_loss(data, tmp_path: Path, rate: float) -> None:
    """Whatever training minimizes: label smoothing and class weights are not in it."""
    head = HeadConfig(name="linear", label_smoothing=0.3)
    sgd = OptimizerConfig(name="sgd", learning_rate=rate)
    _, result, _ = run(data, tmp_path, request="all", head=head, optimizer=sgd, class_weight="balanced")
    judged = evaluate(result.probabilities["val"], data.labels("val"), ("r", "g", "b"))
    last = result.fit.history[-1]
    assert last["val_loss"] == pytest.approx(judged.metrics["loss"], rel=1e-4)
    assert last["val_accuracy"] == pytest.approx(judged.metrics["accuracy"])


def test_balanced_sampling_weighs_the_classes_where_the_head_is_solved_for(data, tmp_path: Path) -> None:
    labels = data.labels("train")
    kept = data.splits.train[(labels != 0) | (np.arange(len(labels)) % 4 == 0)]
    unequal = replace(data, splits=replace(data.splits, train=kept))
    options = {"plain": {}, "sampled": {"sampling": "balanced"}, "weighed": {"class_weight": "balanced"}}
    found = {
        name: run(unequal, tmp_path / name, request="all", head=HeadConfig(name="logistic"), **given)[1]
        for name, given in options.items()
    }
    probabilities = {name: result.probabilities["val"] for name, result in found.items()}
    np.testing.assert_array_equal(probabilities["sampled"], probabilities["weighed"])
    assert np.abs(probabilities["sampled"] - probabilities["plain"]).max() > 1e-3


def test_the_val_loss_can_be_what_training_minimizes_as_keras_has_it(data, tmp_path: Path) -> None:
    import keras

    head = HeadConfig(name="linear", label_smoothing=0.3)
    sgd = OptimizerConfig(name="sgd", learning_rate=1e-3)
    _, result, _ = run(data, tmp_path, request="all", head=head, optimizer=sgd, val_loss="objective")
    smoothed = keras.losses.CategoricalCrossentropy(label_smoothing=0.3)
    targets = np.eye(3, dtype=np.float32)[data.labels("val")]
    assert result.fit.history[-1]["val_loss"] == pytest.approx(
        float(smoothed(targets, result.probabilities["val"])), rel=1e-4
    )
    judged = evaluate(result.probabilities["val"], data.labels("val"), ("r", "g", "b"))
    assert result.fit.history[-1]["val_cross_entropy"] == pytest.approx(judged.metrics["loss"], rel=1e-4)


def test_the_learning_rate_follows_its_schedule(data, tmp_path: Path) -> None:
    course = OptimizerConfig(name="sgd", learning_rate=0.01, schedule="cosine", warmup_epochs=1.0)
    _, result, _ = run(data, tmp_path, request="all", optimizer=course, epochs=3)
    rates = [entry["learning_rate"] for entry in result.fit.history]
    assert rates[0] == pytest.approx(0.01)
    assert rates[0] > rates[1] > rates[2] > 0


def test_a_plateau_lowers_the_learning_rate(data, tmp_path: Path) -> None:
    course = OptimizerConfig(
        name="sgd", learning_rate=1e-12, schedule="plateau", plateau_patience=1, plateau_factor=0.5
    )
    _, result, _ = run(data, tmp_path, request="all", optimizer=course, epochs=4)
    assert result.fit.history[-1]["learning_rate"] < 1e-12


def test_balanced_sampling_reaches_the_batches_that_train(data, tmp_path: Path) -> None:
    splits = Splits(data.splits.train[data.splits.train % 3 > 0], data.splits.val, data.splits.test)
    splits.train[0] = 0  # of class r one image in 20
    unequal = Dataset(data.pixels, splits, AugmentConfig(), seed=0)
    frequent, balanced = (
        run(unequal, tmp_path, request="all", epochs=1, sampling=sampling)[1].probabilities["test"][:, 0].mean()
        for sampling in ("none", "balanced")
    )
    assert balanced > frequent


def test_a_loss_that_explodes_stops_the_stage(data, tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="Lower the learning rate"):
        run(data, tmp_path, request="all", optimizer=OptimizerConfig(name="sgd", learning_rate=1e38), epochs=5)

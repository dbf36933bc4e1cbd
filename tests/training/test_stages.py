"""Stages on a small real network: what moves, what does not, and that kept activations change nothing."""

from pathlib import Path

import numpy as np
import pytest

from thaw import backend
from thaw.config.schema import AugmentConfig, BackboneConfig, CacheConfig, HeadConfig, OptimizerConfig, TrainConfig
from thaw.data import pixels
from thaw.data.catalog import Catalog
from thaw.data.splits import Splits
from thaw.models import freeze
from thaw.training.data import Data
from thaw.training.fit import Diverged
from thaw.training.recipes import Stage

HEAD = HeadConfig(name="linear", dropout=0.2)


@pytest.fixture(scope="module")
def data() -> Data:
    rng = np.random.default_rng(0)
    labels = np.arange(48, dtype=np.int32) % 3
    arrays = rng.integers(0, 90, (48, 32, 32, 3)).astype(np.uint8)
    for i, label in enumerate(labels):
        arrays[i, :, :, label] += 120
    names = tuple(f"x/{i}" for i in range(48))
    catalog = Catalog(names, None, arrays, labels, ("r", "g", "b"), np.full(48, -1, np.int8))
    splits = Splits(np.arange(30), np.arange(30, 39), np.arange(39, 48))
    return Data(pixels.read(catalog, splits.all(), 32), splits, AugmentConfig(), seed=0)


def run(data: Data, folder: Path, *, request: object, batchnorm: str = "frozen", max_gb: float = 1.0, **options):
    """One stage on a fresh network with random weights; returns network, result, and hashes before it."""
    from thaw.models import backbones, network
    from thaw.training.stages import run_stage

    backend.start(0, "float32", deterministic=True)
    built = backbones.build(BackboneConfig(name="mobilenet", alpha=0.25, image_size=64, weights="none"))
    joined = network.join(built, HEAD, ("r", "g", "b"))
    optimizer = options.pop("optimizer", OptimizerConfig(name="sgd", learning_rate=0.05, momentum=0.9))
    stage = Stage(0, "stage", request, batchnorm, options.pop("epochs", 3), 0, optimizer)
    before = freeze.hashes(built.layers)
    result = run_stage(
        stage, freeze.plan(request, built.graph, "mobilenet", batchnorm), joined, data,
        options=TrainConfig(batch_size=8, **options), head=HEAD, cache=CacheConfig(max_gb=max_gb),
        folder=folder, keep=False, on_start=lambda trainable: None, on_epoch=lambda entry: None,
    )  # fmt: skip
    return joined, result, before


def moved(before: dict, after: dict, name: str) -> set[str]:
    return {path.split("/")[-1] for path, digest in before[name].items() if after[name][path] != digest}


@pytest.mark.parametrize("batchnorm", ["frozen", "trainable"])
def test_statistics_move_only_where_asked_and_thawed(data, tmp_path: Path, batchnorm: str) -> None:
    joined, _, before = run(data, tmp_path, request="conv_pw_11", batchnorm=batchnorm)
    after = freeze.hashes(joined.backbone.layers)
    assert moved(before, after, "conv_pw_11_bn") == set()
    statistics = {"moving_mean", "moving_variance"} if batchnorm == "trainable" else set()
    assert moved(before, after, "conv_pw_13_bn") == {"gamma", "beta"} | statistics
    assert moved(before, after, "conv_pw_13") == {"kernel"}


@pytest.mark.parametrize("request_", [40, "all"])  # three cut tensors; pooled features
def test_kept_activations_train_as_the_whole_network_does(data, tmp_path: Path, request_: object) -> None:
    _, kept, _ = run(data, tmp_path, request=request_)
    _, whole, _ = run(data, tmp_path, request=request_, max_gb=0.0)
    assert (kept.extracted, whole.extracted) == (39, 0)
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(
            [entry[name] for entry in kept.fit.history], [entry[name] for entry in whole.fit.history], rtol=1e-5
        )
    np.testing.assert_allclose(kept.val_probabilities, whole.val_probabilities, atol=1e-5)


def test_activations_are_removed_when_the_stage_is_over(data, tmp_path: Path) -> None:
    run(data, tmp_path / "activations", request="all", epochs=1)
    assert not (tmp_path / "activations").exists()


def test_a_users_file_beside_the_activations_stays(data, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    run(data, tmp_path, request="all", epochs=1)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_early_stopping_restores_the_best_weights(data, tmp_path: Path) -> None:
    """A rate that makes things worse after the first epochs: the final weights are not the last ones."""
    wild = OptimizerConfig(name="sgd", learning_rate=2.0)
    _, result, _ = run(data, tmp_path, request="all", optimizer=wild, patience=2, epochs=30)
    losses = [entry["val_loss"] for entry in result.fit.history]
    assert len(losses) < 30
    assert losses.index(min(losses)) == len(losses) - 3
    labels = data.labels("val")
    final = -np.log(np.clip(result.val_probabilities[np.arange(len(labels)), labels], 1e-7, 1)).mean()
    assert final == pytest.approx(min(losses), rel=1e-3)


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


def test_a_loss_that_explodes_stops_the_stage(data, tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="Lower the learning rate"):
        run(data, tmp_path, request="all", optimizer=OptimizerConfig(name="sgd", learning_rate=1e38), epochs=5)


def test_balanced_weights_make_classes_equal() -> None:
    labels = np.array([0] * 6 + [1] * 2 + [0, 1, 0, 1], np.int32)
    arrays = np.zeros((12, 4, 4, 3), np.uint8)
    catalog = Catalog(tuple(map(str, range(12))), None, arrays, labels, ("a", "b"), np.full(12, -1, np.int8))
    splits = Splits(np.arange(8), np.arange(8, 10), np.arange(10, 12))
    unequal = Data(pixels.read(catalog, splits.all(), 4), splits, AugmentConfig(), 0)
    assert unequal.class_weight("none") is None
    assert unequal.class_weight("balanced") == {0: 8 / (2 * 6), 1: 8 / (2 * 2)}


def test_an_interrupted_extraction_leaves_no_files(data, tmp_path: Path) -> None:
    from thaw.frozen.activations import extract

    batches = data.batches("train", 8, 32)
    whole = batches.batch

    def until_ctrl_c(epoch: int, i: int):
        if i == 2:
            raise KeyboardInterrupt
        return whole(epoch, i)

    batches.batch = until_ctrl_c
    with pytest.raises(KeyboardInterrupt):
        extract(lambda x, training: x, batches, tmp_path / "kept", "train", [(32, 32, 3)])
    assert not (tmp_path / "kept").exists()

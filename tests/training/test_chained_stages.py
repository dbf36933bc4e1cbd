"""Several stages of one run: each layer of the frozen part runs once, and the cache changes no weight."""

from collections.abc import Callable
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
from thaw.frozen import activations
from thaw.frozen.engine import EngineChoice, InferenceFunction
from thaw.training.checkpoint import CheckpointDir
from thaw.training.recipes import TrainingStage
from thaw.training.stage_result import StageResult

HEAD = HeadConfig(name="linear")
BACKBONE = BackboneConfig(name="mobilenet", alpha=0.25, image_size=32, weights="none")
CHOICE = EngineChoice(  # as `auto` chooses it for a network with depthwise convolutions
    "openvino", "test", "bfloat16", "bfloat16", training_step="folded", trained_depthwise="float32"
)
STAGES = (("head", "all"), ("top", "conv_pw_12_relu"), ("deep", "conv_pw_9_relu"))
IMAGES = 24


def dataset(augment: AugmentConfig | None = None) -> Dataset:
    labels = np.arange(IMAGES, dtype=np.int32) % 2
    arrays = np.random.default_rng(0).integers(0, 256, (IMAGES, 32, 32, 3)).astype(np.uint8)
    catalog = Catalog(tuple(map(str, range(IMAGES))), None, arrays, labels, ("a", "b"), np.full(IMAGES, -1, np.int8))
    splits = Splits(np.arange(12), np.arange(12, 18), np.arange(18, IMAGES))
    return Dataset(pixels.of_catalog(catalog, splits.all_indices(), 32), splits, augment or AugmentConfig(), seed=0)


def train(
    folder: Path,
    data: Dataset,
    *,
    max_gb: float = 1.0,
    views: int = 0,
    epochs: int = 1,
    chained: bool = True,
    head: HeadConfig = HEAD,
    snapshot: bool = False,
) -> tuple[list[StageResult], bytes]:
    """Train all stages on a fresh network; return their results and the weights.

    snapshot: the head alone predicts too, and its features of two test images are taken.
    """
    from thaw.models import backbones, network
    from thaw.training.checkpoint_callback import StageCheckpointer
    from thaw.training.resume_state import checkpointed_variables
    from thaw.training.stage_plans import StageInputs, plan_stages
    from thaw.training.stages import run_stage

    tensorflow_setup.start_tensorflow(0, deterministic=True)
    built = backbones.build_backbone(BACKBONE)
    for x in built.layers:
        if hasattr(x, "moving_mean"):
            x.momentum = 0.0
    built.model([data.pixels.take(data.splits.train).astype(np.float32)], training=True)
    joined = network.attach_head(built, head, ("a", "b"))
    sgd = OptimizerConfig(name="sgd", learning_rate=1e-3)
    stages = [TrainingStage(i, name, request, "frozen", epochs, 0, sgd) for i, (name, request) in enumerate(STAGES)]
    cache = DiskCache(folder / "cache", max_gb * 1e9)
    inputs = StageInputs(CHOICE, cache, views, BACKBONE, TrainConfig(batch_size=8), head)
    planned = plan_stages(stages, joined, data, inputs, chained=chained)
    results: list[StageResult] = []
    for number, stage in enumerate(planned):
        variables = checkpointed_variables(joined, planned[: number + 1])
        checkpoints = CheckpointDir(folder / "checkpoints", 2, "run")
        results.append(
            run_stage(
                stage.after(results), joined, data, inputs,
                checkpointer=StageCheckpointer(checkpoints, CheckpointConfig(), number, variables),
                predict_splits=("val", "test") if number == len(planned) - 1 or (snapshot and number == 0) else (),
                on_start=lambda trainable: None, on_epoch=lambda entry: None,
                sample=data.splits.test[[3, 1]] if snapshot else None,
            )
        )  # fmt: skip
    return results, b"".join(w.tobytes() for w in joined.model.get_weights())


class Conversions:
    """Counts the conversions of the frozen part, the layers in each, and the images that each ran on."""

    def __init__(self) -> None:
        self.layers: list[list[str]] = []
        self.images: list[int] = []

    def make(self, model, *options: str) -> Callable[..., tuple]:
        self.layers.append([layer.name for layer in model.layers if layer.weights])
        self.images.append(0)
        number, function = len(self.images) - 1, InferenceFunction(model, *options)

        def run(*inputs: np.ndarray) -> tuple:
            self.images[number] += len(inputs[0])
            return function(*inputs)

        return run


@pytest.fixture
def conversions(monkeypatch) -> Conversions:
    made = Conversions()
    monkeypatch.setattr(activations, "InferenceFunction", made.make)
    return made


def test_all_stages_of_a_run_convert_and_run_each_frozen_layer_once(tmp_path: Path, conversions) -> None:
    results, _ = train(tmp_path, dataset())
    assert conversions.images == [IMAGES] * len(STAGES)
    names = [name for layers in conversions.layers for name in layers]
    assert len(names) == len(set(names)) > 50
    assert [(r.hits, r.misses) for r in results] == [(0, IMAGES), (IMAGES, 0), (IMAGES, 0)]


def test_the_same_stages_give_the_same_weights_with_and_without_stored_activations(tmp_path: Path, conversions) -> None:
    data = dataset()
    results, first = train(tmp_path, data)
    made = len(conversions.images)
    warm, again = train(tmp_path, data)
    assert [(r.hits, r.misses) for r in warm] == [(IMAGES, 0)] * 3
    assert len(conversions.images) == made, "nothing is converted"
    live, without = train(tmp_path / "off", data, max_gb=0.0)
    assert [(r.hits, r.misses) for r in live] == [(0, 0)] * 3
    assert first == again == without
    assert results[-1].probabilities["test"].tobytes() == live[-1].probabilities["test"].tobytes()


@pytest.mark.slow
def test_the_same_stages_give_the_same_weights_when_the_disk_fills_up(tmp_path: Path, monkeypatch) -> None:
    from thaw.cache import CacheFull
    from thaw.cache.row_store import RowStore

    data, compute = dataset(), RowStore.get_or_compute
    _, roomy = train(tmp_path, data)

    def full(self, *arguments: object, **options: object) -> object:
        if "from" not in self.key:
            raise CacheFull("the disk is full")
        return compute(self, *arguments, **options)

    monkeypatch.setattr(RowStore, "get_or_compute", full)
    results, narrow = train(tmp_path / "full", data)
    assert [(r.hits, r.misses) for r in results] == [(0, IMAGES), (IMAGES, 0), (0, 0)]
    assert narrow == roomy


@pytest.mark.slow
def test_augmented_views_are_computed_once_for_all_stages(tmp_path: Path, conversions) -> None:
    results, first = train(tmp_path, dataset(AugmentConfig(flip=True)), views=2, epochs=2)
    rows = 2 * 12 + 6 + 6
    assert conversions.images == [rows] * len(STAGES)
    assert [(r.hits, r.misses) for r in results] == [(0, rows), (rows, 0), (rows, 0)]
    assert train(tmp_path / "off", dataset(AugmentConfig(flip=True)), views=2, epochs=2, max_gb=0.0)[1] == first


@pytest.mark.slow
def test_an_early_run_computes_each_stage_from_the_images(tmp_path: Path, conversions) -> None:
    """One that is resumed or reproduced: its rows are other rows, so it finds none of a new run's."""
    _, chained = train(tmp_path, dataset())
    results, direct = train(tmp_path, dataset(), chained=False)
    assert [(r.hits, r.misses) for r in results] == [(0, IMAGES), (0, IMAGES), (IMAGES, 0)]
    assert [len(layers) for layers in conversions.layers[3:]] == sorted(
        (len(layers) for layers in conversions.layers[3:]), reverse=True
    )
    assert direct != chained


@pytest.mark.slow
def test_what_is_kept_of_the_head_alone_changes_no_number_of_the_run(tmp_path: Path) -> None:
    """With dropout, whose random numbers a prediction must not draw from."""
    data, head = dataset(), HeadConfig(name="linear", dropout=0.4)
    plain, weights = train(tmp_path / "plain", data, head=head, epochs=2)
    results, with_snapshot = train(tmp_path / "kept", data, head=head, epochs=2, snapshot=True)
    assert with_snapshot == weights
    assert results[-1].probabilities["test"].tobytes() == plain[-1].probabilities["test"].tobytes()
    assert [result.fit.history[-1]["val_loss"] for result in results] == [
        result.fit.history[-1]["val_loss"] for result in plain
    ]
    labels = data.labels("val")
    alone = results[0].probabilities["val"]
    assert (alone.argmax(axis=1) == labels).mean() == results[0].fit.history[-1]["val_accuracy"]
    assert -np.log(alone[np.arange(6), labels]).mean() == pytest.approx(results[0].fit.history[-1]["val_loss"], 1e-4)
    assert plain[0].probabilities == {}
    assert [result.sampled_features is not None for result in results] == [True, False, False]
    sampled = results[0].sampled_features
    assert (sampled.shape, sampled.dtype) == ((2, 256), np.float32)
    assert (sampled[0] != sampled[1]).any()


def test_a_flattened_heads_features_are_averaged_over_positions() -> None:
    from thaw.models.network import mean_over_positions

    network = SimpleNamespace(backbone=SimpleNamespace(model=SimpleNamespace(output=np.empty((1, 2, 2, 3)))))
    flat = np.arange(24, dtype=np.float32).reshape(2, 2 * 2 * 3)
    assert mean_over_positions(network, flat).tolist() == [[4.5, 5.5, 6.5], [16.5, 17.5, 18.5]]
    assert mean_over_positions(network, flat[:, :3]).tolist() == flat[:, :3].tolist()

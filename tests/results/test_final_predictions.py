"""A run whose engine gives other classes than the network it keeps: nothing is lost, and every figure is the network's.

The engine's outputs are shuffled on their way out, so that the head is trained on features which no network gives.
"""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from thaw.common.errors import UserError
from thaw.config.job import Job
from thaw.config.schema import (
    BackboneConfig,
    BottleneckConfig,
    CacheConfig,
    Config,
    DatasetConfig,
    FinetuneConfig,
    OptimizerConfig,
    TrackingConfig,
)
from thaw.data.decode import decode
from thaw.results import parity
from thaw.results.final_predictions import PARITY_IMAGES_TAG
from thaw.results.parity import Parity
from thaw.results.trained_classifier import InferenceSettings, settings_of_result
from thaw.run import run

ROOT = Path(__file__).parents[2]


def config(commands, photos, **changes) -> Config:
    usual = Config(
        recipe="bottleneck",
        engine="tensorflow",
        precision="float32",
        outputs=str(commands.outputs),
        cache=CacheConfig(dir=str(commands.outputs / "cache")),
        backbone=BackboneConfig(image_size=32),
        dataset=DatasetConfig(name="image_folder", path=str(photos)),
        bottleneck=BottleneckConfig(epochs=5),
        optimizer=OptimizerConfig(name="rmsprop", learning_rate=1e-3),
        tracking=TrackingConfig(uri=f"sqlite:///{commands.outputs}/mlflow.db"),
    )
    return dataclasses.replace(usual, **changes)


def spoilt(*model_and_precision):
    from thaw.frozen import engine

    run = engine._sound(*model_and_precision)
    return lambda chunks: [tuple(np.roll(y, 1, axis=-1) for y in outputs) for outputs in run(chunks)]


@pytest.fixture(scope="module")
def printed() -> list[str]:
    return []


@pytest.fixture(scope="module")
def failed(commands, photos, printed) -> Path:
    """The folder of a run with a spoilt engine."""
    from thaw.frozen import engine
    from thaw.results import final_predictions

    folder = commands.folder / "spoilt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_sound", engine._tensorflow, raising=False)
        patch.setattr(engine, "_tensorflow", spoilt)
        patch.setattr(final_predictions, "say", printed.append)
        run(config(commands, photos, cache=CacheConfig(dir=str(commands.folder / "spoilt cache"))), Job(ROOT, folder))
    return folder


@pytest.fixture(scope="module")
def result(failed) -> dict:
    return json.loads((failed / "result.json").read_text())


@pytest.fixture(scope="module")
def saved_probabilities(failed, photos, result) -> dict[str, np.ndarray]:
    """Probabilities of the saved network by image, from the file alone: val and test."""
    import keras

    rows = list(csv.DictReader((failed / "manifest.csv").open()))
    model = keras.models.load_model(result["model"])
    names = [row["path"] for row in rows if row["split"] in ("val", "test")]
    images = np.stack([decode(str(photos / name), size=(32, 32)).resized(32) for name in names]).astype(np.float32)
    return dict(zip(names, np.asarray(model([images], training=False)), strict=True))


def test_a_failed_parity_loses_no_training_and_says_what_to_set(result, printed) -> None:
    assert result["parity"]["passed"] is False
    assert result["parity"]["images"] == 8, "the rest could not have made up for it"
    assert result["parity"]["differ"] >= 2
    assert result["parity"]["max_probability_difference"] > 0.1
    assert result["parity"]["judged_with"]["engine"] == "keras"
    assert result["engine"]["engine"] == "tensorflow", "what trained it"
    (line,) = printed
    assert line.startswith(f"parity failed: {result['parity']['differ']} of 8 images get another class")
    assert "Up to 1 % of them would be accepted. Probabilities differ by up to" in line
    assert "train again with" in line


def test_its_figures_are_those_of_the_network_that_is_kept(failed, saved_probabilities, result, commands) -> None:
    rows = list(csv.DictReader((failed / "report" / "predictions.csv").open()))
    for row in rows:
        assert row["predicted"] == result["class_names"][saved_probabilities[row["image"]].argmax()]
        assert float(row["confidence"]) == pytest.approx(saved_probabilities[row["image"]].max(), abs=1e-6)
    right = {
        name: result["class_names"][p.argmax()] == Path(name).parent.name for name, p in saved_probabilities.items()
    }
    test = [row["image"] for row in rows]
    assert result["metrics"]["test/accuracy"] == pytest.approx(np.mean([right[name] for name in test]))
    val = np.mean([is_right for name, is_right in right.items() if name not in test])
    assert result["objective"]["value"] == pytest.approx(val)
    stored = commands.client().get_run(result["run_id"])
    assert stored.info.status == "FINISHED"
    assert stored.data.tags["thaw.parity"] == "failed"
    assert stored.data.metrics["objective"] == stored.data.metrics["val/accuracy"] == pytest.approx(val)
    assert stored.data.metrics["parity/differ"] == result["parity"]["differ"]


def test_predict_computes_as_it_was_judged_not_as_it_was_trained(failed) -> None:
    assert settings_of_result(failed / "result.json") == InferenceSettings("keras", "float32")


class Interrupted(BaseException):
    """As Ctrl-C or a kill."""


def two_stages(commands, photos, **changes) -> Config:
    """A run that trains some of the backbone; the runs share a cache."""
    stages = {"recipe": "finetune", "finetune": FinetuneConfig(head_epochs=1, epochs=2, freeze="block7a")}
    return config(commands, photos, **stages, **changes)


@pytest.fixture(scope="module")
def undisturbed(commands, photos) -> dict:
    folder = commands.folder / "undisturbed"
    run(two_stages(commands, photos), Job(ROOT, folder))
    return json.loads((folder / "result.json").read_text())


def raising(error: BaseException):
    def raises(*_: object) -> None:
        raise error

    return raises


def test_a_run_whose_comparison_raises_keeps_its_network(commands, photos, undisturbed, monkeypatch) -> None:
    from thaw.frozen.inference import KerasReference
    from thaw.results import final_predictions

    lines: list[str] = []
    monkeypatch.setattr(final_predictions, "say", lines.append)
    monkeypatch.setattr(KerasReference, "probabilities", raising(MemoryError("no room")))
    folder = commands.folder / "raised"
    result = run(two_stages(commands, photos), Job(ROOT, folder))
    assert result.weights_sha256 == undisturbed["weights_sha256"]
    assert result.model is not None
    assert Path(result.model).exists()
    assert result.metrics == undisturbed["metrics"], "the engine's, as everywhere"
    assert result.parity["passed"] is False
    assert result.parity["error"] == "MemoryError: no room"
    assert (result.parity["images"], result.parity["judged_with"]) == (0, undisturbed["engine"])
    assert lines[0].startswith("parity unchecked: the kept network could not be run by Keras (MemoryError: no room)")
    assert commands.client().get_run(result.run_id).data.tags["thaw.parity"] == "unchecked"


@pytest.mark.parametrize(
    ("moment", "error"),
    [
        ("in the sample", Interrupted()),
        pytest.param("in the sample", UserError("photo.jpg has changed"), marks=pytest.mark.slow),
        pytest.param("in the figures of a failed one", KeyboardInterrupt(), marks=pytest.mark.slow),
    ],
    ids=["killed", "data", "Ctrl-C"],
)
def test_a_run_that_ends_in_its_comparison_is_resumed_without_training(
    commands, photos, undisturbed, monkeypatch, moment, error
) -> None:
    import keras

    from thaw.frozen.inference import KerasReference
    from thaw.results import final_predictions

    folder, wanted = commands.folder / f"ended {type(error).__name__}", two_stages(commands, photos)
    with monkeypatch.context() as patch:
        if moment == "in the sample":
            patch.setattr(KerasReference, "probabilities", raising(error))
        else:
            patch.setattr(Parity, "failed", True)
            patch.setattr(final_predictions._SavedNetwork, "all_probabilities", raising(error))
        with pytest.raises(type(error)):
            run(wanted, Job(ROOT, folder))
    run_id = json.loads((folder / "run.json").read_text())["run_id"]
    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "fit", raising(AssertionError("trained again")))
        result = run(wanted, Job(ROOT, folder, resumed_run_id=run_id))
    assert result.weights_sha256 == undisturbed["weights_sha256"]
    assert result.metrics == undisturbed["metrics"]
    assert result.parity["passed"]


@pytest.mark.slow
def test_a_failed_comparison_runs_no_image_twice(commands, photos, monkeypatch) -> None:
    from thaw.frozen.inference import KerasReference

    computed: list[int] = []
    probabilities = KerasReference.probabilities

    def counted(self, indices, advance):
        computed.extend(indices.tolist())
        return probabilities(self, indices, advance)

    monkeypatch.setattr(KerasReference, "probabilities", counted)
    monkeypatch.setattr(Parity, "failed", True)
    monkeypatch.setattr(parity, "ENOUGH_IMAGES", 1)
    result = run(two_stages(commands, photos), Job(ROOT, commands.folder / "counted"))
    assert result.parity["images"] == 8
    assert sorted(computed) == sorted(set(computed))
    assert len(computed) == 12


@pytest.mark.slow
def test_a_rerun_compares_as_many_images_as_the_run_that_it_reproduces(commands, photos, undisturbed) -> None:
    job = Job(ROOT, commands.folder / "five", tags={PARITY_IMAGES_TAG: "5"})
    assert run(two_stages(commands, photos), job).parity["images"] == 5

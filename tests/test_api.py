"""`from thaw import ...`: train, load, predict, features and plans, from Python, on scikit-learn's real digits."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import thaw
from thaw.analysis.calibration import apply_temperature
from thaw.common.errors import UserError
from thaw.config.schema import DatasetConfig
from thaw.data import digits
from thaw.data.picture_input import pixels_of

from .conftest import ROOT

TINY = ["dataset=digits", "dataset.limit_per_class=5", "recipe=bottleneck", "backbone.image_size=32"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> str:
    return f"outputs={tmp_path_factory.mktemp('outputs')}"


@pytest.fixture(scope="module")
def trained(outputs: str) -> "thaw.RunResult":
    return thaw.train([*TINY, "bottleneck.epochs=8", outputs])


@pytest.fixture(scope="module")
def model(trained, outputs: str) -> "thaw.TrainedModel":
    return thaw.load(trained.run_id, [outputs])


@pytest.fixture(scope="module")
def arrays() -> np.ndarray:
    return digits.load_catalog(DatasetConfig(name="digits")).arrays


def run_alone(code: str) -> None:
    """Run Python code in a process of its own, with the checkout's thaw."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_thaw_imports_nothing_heavy() -> None:
    code = (
        "import sys, thaw\n"
        "assert set(dir(thaw)) == {*thaw.__all__, '__version__'}\n"
        "assert not {'tensorflow', 'keras', 'mlflow', 'numpy', 'hydra'} & set(sys.modules)"
    )
    run_alone(code)


def test_every_name_of_the_interface_is_there_and_documented() -> None:
    for name in thaw.__all__:
        assert getattr(thaw, name).__doc__, name
    with pytest.raises(AttributeError, match="module 'thaw' has no attribute 'fit'"):
        thaw.fit  # noqa: B018


@pytest.mark.slow
def test_any_call_may_be_the_first_in_a_process(trained, outputs: str, arrays: np.ndarray, tmp_path: Path) -> None:
    """TensorFlow's threads are fixed by its first use, and what was loaded works on."""
    np.save(tmp_path / "images.npy", arrays[:4])
    code = (
        "import numpy as np, thaw\n"
        f"images, outputs = np.load({str(tmp_path / 'images.npy')!r}), {outputs!r}\n"
        f"model = thaw.load({trained.run_id!r}, [outputs])\n"
        "thaw.plan_freeze('efficientnet_lite0', 'all')\n"
        "thaw.features('efficientnet_lite0', images, ['backbone.image_size=32', outputs])\n"
        "before = model.predict(images).probabilities\n"
        f"thaw.train([*{TINY!r}, 'bottleneck.epochs=1', 'outputs={tmp_path}/outputs'])\n"
        "assert np.array_equal(model.predict(images).probabilities, before)\n"
    )
    run_alone(code)


def test_features_need_no_fresh_process(outputs: str, arrays: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", arrays[:4])
    code = (
        "import numpy as np, tensorflow as tf, thaw\n"
        "tf.constant(1) + 1\n"  # the user's own work
        f"images = np.load({str(tmp_path / 'images.npy')!r})\n"
        f"rows = thaw.features('efficientnet_lite0', images, ['backbone.image_size=32', {outputs!r}])\n"
        "assert rows.shape == (4, 1280)"
    )
    run_alone(code)


def test_a_run_is_trained_as_by_the_command(trained, outputs: str) -> None:
    (file,) = Path(outputs.partition("=")[2]).glob("runs/*/*/result.json")
    assert trained.run_id in file.read_text()
    assert trained.metrics["test/accuracy"] > 0.3  # ten classes, five images each
    assert (file.parent / "features" / "test-0.npy").is_file()


def test_a_run_predicts_arrays_and_files_alike(model, arrays: np.ndarray, tmp_path: Path) -> None:
    for i in range(3):
        Image.fromarray(arrays[i]).save(tmp_path / f"{i}.png")
    of_arrays, of_files = model.predict(arrays[:3]), model.predict([tmp_path / f"{i}.png" for i in range(3)])
    assert of_arrays.images == ["0", "1", "2"]
    assert of_files.images == [str(tmp_path / f"{i}.png") for i in range(3)]
    assert np.array_equal(of_arrays.probabilities, of_files.probabilities)
    assert (of_files.probabilities.dtype, of_files.probabilities.shape) == (np.float32, (3, 10))
    assert of_files.class_names == [model.class_names[i] for i in of_files.probabilities.argmax(axis=1)]
    assert model.predict(str(tmp_path)).class_names == of_files.class_names
    by_keras = model.keras_model.predict(
        np.stack([pixels_of(image, model.image_size) for image in arrays[:3]]), verbose=0
    )
    np.testing.assert_allclose(of_arrays.probabilities, by_keras, atol=0.02)


def test_more_images_than_a_batch_come_in_their_order(model, arrays: np.ndarray) -> None:
    every = model.predict(arrays[:150]).probabilities
    assert np.allclose(every[140:], model.predict(arrays[140:150]).probabilities, atol=1e-5)


def test_probabilities_can_be_those_after_the_runs_temperature(model, arrays: np.ndarray, monkeypatch) -> None:
    plain = model.predict(arrays[:5])
    monkeypatch.setattr(model, "_classifiers", [replace(model._classifiers[0], temperature=2.0)])
    calibrated = model.predict(arrays[:5], calibrated=True)
    assert np.array_equal(calibrated.probabilities, apply_temperature(plain.probabilities, 2.0))
    assert calibrated.class_names == plain.class_names
    monkeypatch.setattr(model, "_classifiers", [replace(model._classifiers[0], temperature=None)])
    with pytest.raises(UserError, match="there is no temperature for this network's probabilities"):
        model.predict(arrays[:5], calibrated=True)


def test_a_folder_names_the_run_as_its_id_does(model, arrays: np.ndarray, outputs: str) -> None:
    (folder,) = Path(outputs.partition("=")[2]).glob("runs/*/*")
    same = thaw.load(folder, [outputs]).predict(arrays[:2])
    assert np.array_equal(same.probabilities, model.predict(arrays[:2]).probabilities)


def test_what_cannot_be_predicted_is_named(model, tmp_path: Path, arrays: np.ndarray) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    (tmp_path / "b.jpg").write_bytes(b"")
    with pytest.raises(thaw.UserError, match=r"2 of 2 files could not be read:\n.*a\.jpg.*\n.*b\.jpg"):
        model.predict(tmp_path)
    with pytest.raises(thaw.UserError, match="matches no file"):
        model.predict("absent.jpg")
    with pytest.raises(thaw.UserError, match=r"images are uint8 \(N, H, W, 3\), RGB, 0-255; these are float64 \(8, 8"):
        model.predict(arrays[0] / 255)


def test_features_are_the_rows_that_the_run_kept(trained, outputs: str, arrays: np.ndarray, capsys) -> None:
    (folder,) = Path(outputs.partition("=")[2]).glob("runs/*/*/features")
    exported, indices = np.load(folder / "test-0.npy"), np.load(folder / "test-indices.npy")
    capsys.readouterr()
    rows = thaw.features("efficientnet_lite0", arrays[indices], ["backbone.image_size=32", outputs])
    assert "0 computed" in capsys.readouterr().out
    assert np.array_equal(rows, exported)
    backwards = thaw.features("efficientnet_lite0", arrays[indices[::-1]], ["backbone.image_size=32", outputs])
    assert np.array_equal(backwards[::-1], rows)


def test_features_of_files_need_no_cache(photos: Path, outputs: str) -> None:
    files = sorted((photos / "apple").iterdir())[:3]
    options = ["backbone.image_size=32", "cache.max_gb=0", outputs]
    assert thaw.features("efficientnet_lite0", [*files, files[0]], options).shape == (4, 1280)
    with pytest.raises(thaw.UserError, match="random weights"):
        thaw.features("efficientnet_lite0", files, ["backbone.weights=none"])


@pytest.mark.parametrize("precision", ["int8", "draft"])
def test_features_that_depend_on_the_other_images_of_a_call_are_refused(arrays: np.ndarray, precision: str) -> None:
    with pytest.raises(thaw.UserError, match=rf"precision={precision} .* Use precision=auto or bfloat16"):
        thaw.features("efficientnet_lite0", arrays, [f"precision={precision}"])


def test_a_plan_is_data_and_a_line() -> None:
    plan = thaw.plan_freeze("efficientnet_lite0", "block3b")
    assert (plan.block, plan.inside_block, len(plan.cut_names)) == ("block3b", False, 1)
    assert plan.summary().startswith(f"frozen {plan.boundary}/{plan.total_layers} · boundary ")
    assert thaw.plan_freeze("efficientnet_lite0") == plan  # the backbone's own boundary
    assert thaw.plan_freeze("efficientnet_lite0", 0).trainable_params == plan.params
    with pytest.raises(thaw.UserError, match="Did you mean 'block6c'"):
        thaw.plan_freeze("efficientnet_lite0", "blok6c")
    with pytest.raises(thaw.UserError, match=r"backbone=vgg61 is not a choice. Did you mean 'vgg1"):
        thaw.plan_freeze("vgg61", "all")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["bakbone=vgg16"], "bakbone is not a key. Did you mean 'backbone'?"),
        (["seed=1,2"], "seed=1,2 is several values"),
        (["-m", "seed=1"], "-m is not understood: every argument is key=value"),
        (["train.batch_size=0", "head.dropout=2"], "2 mistakes:\n"),
        (["+hydra.callbacks.x._target_=os.makedirs"], "refused, because Hydra would call"),
        (["seed="], "seed= is empty"),
    ],
)
def test_a_mistake_is_the_command_lines_message(overrides: list[str], said: str) -> None:
    before = dict(os.environ), Path.cwd()
    with pytest.raises(thaw.UserError) as refused:
        thaw.train(overrides)
    assert said in str(refused.value)
    assert (dict(os.environ), Path.cwd()) == before

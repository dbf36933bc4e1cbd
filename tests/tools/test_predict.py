"""Predict runs a network on the engine and in the precisions that its run evaluated it with."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thaw.analysis.calibration import apply_temperature
from thaw.common.errors import UserError
from thaw.common.hardware import Hardware
from thaw.config.schema import Config, DatasetConfig
from thaw.config.stored_config import config_yaml
from thaw.config.tool_schemas import PredictConfig
from thaw.models.saved_model import SavedNetwork
from thaw.results import classifier as run_classifier
from thaw.results import computation_choice, trained_classifier
from thaw.results.computation_choice import choose_prediction_engine
from thaw.results.trained_classifier import InferenceSettings, settings_of_result, settings_of_tags
from thaw.tools import predict

BF16 = Hardware(openvino=True, bfloat16=True, float16=False)
BARE = Hardware(openvino=False, bfloat16=True, float16=False)
AMPERE = Hardware(openvino=True, bfloat16=True, float16=False, gpu_capabilities=((8, 0),))
STOCK = InferenceSettings()


@pytest.mark.parametrize(
    ("asked", "judged", "hardware", "expected"),
    [
        # As the run, whatever this machine would choose for a new run.
        (("auto", "auto"), InferenceSettings("openvino", "bfloat16"), BF16, ("openvino", "bfloat16")),
        (("auto", "auto"), InferenceSettings("openvino", "float32"), BF16, ("openvino", "float32")),
        (("auto", "auto"), InferenceSettings("openvino", "float32"), AMPERE, ("openvino", "float32")),
        (("auto", "auto"), InferenceSettings("tensorflow", "float16"), BF16, ("tensorflow", "float16")),
        # A run whose engine did not agree with its network was judged by Keras.
        (("auto", "auto"), InferenceSettings("keras", "float32"), BF16, ("keras", "float32")),
        # What is asked for is what is done.
        (("openvino", "auto"), InferenceSettings("tensorflow", "bfloat16"), BF16, ("openvino", "bfloat16")),
        (("auto", "float32"), InferenceSettings("openvino", "bfloat16"), BF16, ("openvino", "float32")),
        # Stock networks were judged by nobody.
        (("auto", "auto"), STOCK, BF16, ("openvino", "float32")),
        (("auto", "auto"), STOCK, AMPERE, ("tensorflow", "float32")),
        (("auto", "bfloat16"), STOCK, BF16, ("openvino", "bfloat16")),
    ],
)
def test_a_network_computes_as_it_was_judged(
    asked: tuple, judged: InferenceSettings, hardware: Hardware, expected: tuple, capsys: pytest.CaptureFixture
) -> None:
    choice = choose_prediction_engine(*asked, judged, hardware)
    assert (choice.engine, choice.frozen) == expected
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("judged", "hardware"),
    [(InferenceSettings("openvino", "bfloat16"), BARE), (InferenceSettings("openvino", "float16"), BF16)],
)
def test_what_this_machine_cannot_run_keeps_its_precision_and_is_said(
    judged: InferenceSettings, hardware: Hardware, capsys: pytest.CaptureFixture
) -> None:
    choice = choose_prediction_engine("auto", "auto", judged, hardware)
    assert (choice.engine, choice.frozen) == ("tensorflow", judged.frozen_precision)
    printed = capsys.readouterr()
    assert printed.out == "", "the listing may be read by a program"
    assert f"cannot run openvino in {judged.frozen_precision}" in printed.err
    assert f"runs tensorflow in {judged.frozen_precision}" in printed.err


def test_an_engine_that_was_asked_for_is_not_replaced() -> None:
    with pytest.raises(UserError, match="not installed"):
        choose_prediction_engine("openvino", "auto", STOCK, BARE)


def test_only_a_network_with_frozen_layers_in_int8_is_quantised_and_the_kept_one_is_float32() -> None:
    quantised = InferenceSettings("openvino", "int8", "float32", 150, "ab")
    assert quantised.is_quantized
    assert not InferenceSettings("openvino", "int8", "float32", 0).is_quantized
    assert not InferenceSettings("openvino", "bfloat16", "float32", 150).is_quantized
    choice = choose_prediction_engine("tensorflow", "auto", quantised, BF16)
    assert (choice.engine, choice.frozen) == ("tensorflow", "float32")


def test_a_runs_folder_says_what_it_was_judged_with(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    assert settings_of_result(file) == STOCK
    engine = {"engine": "tensorflow", "version": "2.21", "frozen": "bfloat16", "trained": "float32"}
    parted = {"engine": engine, "stages": [{"name": "head", "cut": 150}, {"name": "thaw", "cut": 88}]}
    keras = {"parity": {"judged_with": {"engine": "keras", "frozen": "float32", "trained": "float32"}}}
    for content, expected in (
        (parted, InferenceSettings("tensorflow", "bfloat16", "float32", 88)),
        ({**parted, **keras}, InferenceSettings("keras", "float32")),  # where the engine did not agree with the network
        ({"engine": engine}, InferenceSettings("tensorflow", "bfloat16")),  # an earlier version
        (
            {**parted, "quantization": {"file": "frozen_int8.xml", "sha256": "ab"}},
            InferenceSettings("tensorflow", "bfloat16", "float32", 88, "ab"),
        ),
        ({"run_id": "a"}, STOCK),
    ):
        file.write_text(json.dumps(content))
        assert settings_of_result(file) == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (
            {"thaw.engine": "openvino 2026.1", "thaw.frozen_precision": "bfloat16"},
            InferenceSettings("openvino", "bfloat16"),
        ),
        (
            {
                "thaw.engine": "openvino 2026.1",
                "thaw.frozen_precision": "bfloat16",
                "thaw.precision": "bfloat16",
                "fingerprint.cuts": "150 88",
            },
            InferenceSettings("openvino", "bfloat16", "bfloat16", 88),
        ),
        (
            {"thaw.engine": "openvino 2026.1", "thaw.frozen_precision": "bfloat16", "thaw.parity": "failed"},
            InferenceSettings("keras", "float32"),
        ),
        (
            {
                "thaw.engine": "openvino 2026.4",
                "thaw.frozen_precision": "int8",
                "fingerprint.cuts": "150",
                "thaw.quantized_sha256": "ab",
            },
            InferenceSettings("openvino", "int8", "float32", 150, "ab"),
        ),
        ({}, STOCK),
    ],
)
def test_a_run_in_the_store_says_what_it_was_judged_with(tags: dict, expected: InferenceSettings) -> None:
    assert settings_of_tags(tags) == expected


@pytest.mark.parametrize("form", ["csv", "json", "jsonl", "table"])
@pytest.mark.parametrize("to_file", [True, False])
def test_any_name_of_a_file_comes_out_of_a_listing(
    form: str, to_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture
) -> None:
    name = str(tmp_path / "caf\udce9\r.png")
    with Path(name).open("wb") as file:
        Image.new("RGB", (8, 8)).save(file, "PNG")
    network = trained_classifier.Classifier(None, ["lion"], 8, STOCK)
    monkeypatch.setattr(predict, "load_classifiers", lambda *_: [network])
    monkeypatch.setattr(predict.partial_identity, "network_identity", lambda model: [])
    answer = [np.array([[0.5]], np.float32)]
    monkeypatch.setattr(run_classifier, "InferenceFunction", lambda *given: lambda images: answer)
    monkeypatch.setattr(run_classifier, "expand_sigmoid", lambda rows: rows)
    output = tmp_path / "listing"
    config = PredictConfig(images=name, format=form, output=str(output) if to_file and form != "table" else None)
    predict.predict(config)
    out = output.read_bytes() if config.output else capfdbinary.readouterr().out
    if form.startswith("json"):
        read = json.loads(out.decode())
        assert (read[0] if form == "json" else read)["image"] == name
    elif form == "csv":
        lines = out.decode(errors="surrogateescape").splitlines(keepends=True)
        assert out.startswith(b"image,")
        assert next(csv.DictReader(iter(lines)))["image"] == name
    else:
        assert b"caf\\udce9\\r.png" in out


@pytest.mark.parametrize(
    ("bits", "asked", "brightest"), [(12, None, 255), (None, None, 16), (None, 12, 255), (12, 16, 16)]
)
def test_pictures_are_decoded_as_those_of_the_networks_run(
    bits: int | None, asked: int | None, brightest: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    Image.fromarray(np.array([[4095, 4095]], np.uint16)).save(tmp_path / "a.png")
    seen = []

    def function(images: np.ndarray) -> list[np.ndarray]:
        seen.append(int(images.max()))
        return [np.array([[0.75, 0.25]], np.float32)]

    (tmp_path / "config.yaml").write_text(config_yaml(Config(dataset=DatasetConfig(bits=bits))))
    network = trained_classifier.Classifier(
        None, ["a", "b"], 8, STOCK, SavedNetwork(tmp_path / "model.keras", tmp_path).dataset_bits()
    )
    monkeypatch.setattr(run_classifier, "InferenceFunction", lambda *given: function)
    monkeypatch.setattr(predict, "load_classifiers", lambda *_: [network])
    predict.predict(PredictConfig(images=str(tmp_path / "a.png"), bits=asked, format="csv"))
    assert seen == [brightest]
    printed = capsys.readouterr()
    assert ("nearly black: bits=12 spreads 0 to 4,095" in printed.err) == (bits is asked is None)
    assert "warning" not in printed.out


@pytest.mark.parametrize(
    ("content", "temperature"),
    [('{"temperature": 1.37, "fitted_on": "val", "images": 341}', 1.37), ('{"temperature": null}', None), (None, None)],
)
def test_a_network_knows_the_temperature_of_its_run(
    content: str | None, temperature: float | None, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "calibration.json").write_text(content)
    assert SavedNetwork(tmp_path / "model.keras", tmp_path).temperature() == temperature


@pytest.mark.parametrize("content", ["{}", "[1]", "no json", '{"temperature": "warm"}'])
def test_a_file_without_a_temperature_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_text(content)
    with pytest.raises(UserError, match=r"calibration\.json does not hold a temperature"):
        SavedNetwork(tmp_path / "model.keras", tmp_path).temperature()


def test_calibrated_probabilities_are_those_after_the_temperature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = np.array([[0.75, 0.25]], np.float32)
    monkeypatch.setattr(run_classifier, "InferenceFunction", lambda *given: lambda images: [plain])
    network = trained_classifier.Classifier(None, ["a", "b"], 8, STOCK, saved_network=object(), temperature=2.0)
    assert trained_classifier.probability_function(network)(None).tolist() == plain.tolist()
    found = trained_classifier.probability_function(network, calibrated=True)(None)
    assert found.tolist() == apply_temperature(plain, 2.0).tolist()
    assert found[0, 0] == pytest.approx(3**0.5 / (3**0.5 + 1))  # odds of 3 to 1 become their root


def test_a_network_without_a_temperature_says_why_it_has_none() -> None:
    published = trained_classifier.Classifier(None, ["a", "b"], 8, STOCK)
    with pytest.raises(UserError, match=r"a published network has none. Give model=RUN"):
        trained_classifier.probability_function(published, calibrated=True)
    old = trained_classifier.Classifier(None, ["a", "b"], 8, STOCK, saved_network=object())
    with pytest.raises(UserError, match=r"of an earlier version, or none could be fitted.*Leave calibrated out"):
        trained_classifier.probability_function(old, calibrated=True)


def test_a_network_from_before_there_was_the_key_is_asked_for_none(tmp_path: Path) -> None:
    for content in ("backbone: {name: vgg16}\n", "dataset: {name: image_folder}\n"):
        (tmp_path / "config.yaml").write_text(content)
        assert SavedNetwork(tmp_path / "model.keras", tmp_path).dataset_bits() is None


def test_a_run_on_data_of_few_bits_sees_it_and_so_does_its_network(commands) -> None:
    """Stripes that two of 65,536 levels of grey would hide."""
    folder = commands.folder / "scans"
    rng = np.random.default_rng(0)
    for label, step in (("coarse", 16), ("fine", 2)):
        (folder / label).mkdir(parents=True)
        for i in range(20):
            levels = 100 * (np.indices((64, 64))[1] // step % 2) + rng.integers(0, 120, (64, 64))
            Image.fromarray(levels.astype(np.uint16)).save(folder / label / f"{i:02}.png")
    ran = commands.run(
        "recipe=bottleneck", "dataset=image_folder", f"dataset.path={folder}", "dataset.bits=8",
        "backbone.image_size=64", "head=linear", "bottleneck.epochs=10", "optimizer.learning_rate=0.01",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "16 bits" not in ran.out
    listing = commands.run(
        "scripts/predict.py", f"model={ran.result()['run_id']}", f"images={folder}", "format=csv", "top=1"
    )
    rows = list(csv.DictReader(listing.out.splitlines()))
    assert sum(row["image"].split("/")[-2] == row["class"] for row in rows) >= 38, listing.err


@pytest.mark.parametrize(
    ("settings", "quantized_file", "asked", "noted"),
    [
        (STOCK, True, {}, True),  # the model's folder alone
        (InferenceSettings("openvino", "int8", boundary=9), True, {"engine_asked": "tensorflow"}, True),
        (InferenceSettings("openvino", "int8", boundary=9), True, {"precision": "float32"}, False),
        (STOCK, False, {}, False),
    ],
)
def test_float32_predictions_of_a_head_that_was_fitted_on_int8_are_noted(
    settings, quantized_file, asked, noted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    if quantized_file:
        (tmp_path / "frozen_int8.xml").write_text("")
    monkeypatch.setattr(run_classifier, "InferenceFunction", lambda *args: None)
    classifier = trained_classifier.Classifier(None, ["a", "b"], 8, settings, folder=tmp_path)
    trained_classifier.probability_function(classifier, **asked)
    assert capsys.readouterr().err == (f"{computation_choice.FLOAT32_NOTE}\n" if noted else "")


def test_a_run_in_int8_needs_openvino_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computation_choice, "detect_processor", lambda: BARE)
    settings = InferenceSettings("openvino", "int8", boundary=9)
    classifier = trained_classifier.Classifier(None, ["a", "b"], 8, settings, folder=tmp_path)
    with pytest.raises(UserError, match=r"int8, which OpenVINO computes.*or predict with precision=float32"):
        trained_classifier.probability_function(classifier)

"""A run with dataset.resize: the network sees the same squares in prediction and evaluation as in training."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Commands

WIDTH, HEIGHT = 120, 40


@pytest.fixture
def wide_photos(tmp_path: Path) -> Path:
    """Wide pictures whose class is the colour of their centre; what is cropped away is the other class's."""
    rng = np.random.default_rng(0)
    colors = {"red": (200, 30, 30), "green": (30, 200, 30)}
    for name, other in (("red", "green"), ("green", "red")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(16):
            pixels = np.full((HEIGHT, WIDTH, 3), colors[other], np.int16)
            pixels[:, HEIGHT : 2 * HEIGHT] = colors[name]
            noisy = (pixels + rng.integers(-30, 30, pixels.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(tmp_path / "photos" / name / f"{number:02}.png")
    return tmp_path / "photos"


def test_predict_and_evaluate_give_the_runs_own_probabilities(commands: Commands, wide_photos: Path) -> None:
    ran = commands.run(
        "dataset=image_folder", f"dataset.path={wide_photos}", "dataset.resize=crop", "recipe=bottleneck",
        "head=linear",
        "backbone=mobilenet", "backbone.alpha=0.25", "backbone.weights=none", "backbone.image_size=32",
        "bottleneck.epochs=3", "dataset.test_fraction=0.25", "report=none",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    result = ran.result()
    card = (Path(result["model"]).parent / "model_card.md").read_text()
    assert "Only the square in the centre of a picture is seen" in card

    model = f"model={result['run_id']}"
    ran = commands.run("scripts/predict.py", model, f"images={wide_photos}", "format=csv", "top=2")
    assert ran.code == 0, ran.err
    predicted: dict[str, dict[str, float]] = {}
    for row in csv.DictReader(ran.out.splitlines()):
        name = str(Path(row["image"]).relative_to(wide_photos))
        predicted.setdefault(name, {})[row["class"]] = float(row["probability"])
    file = Path(result["model"]).parent.parent / "report" / "predictions.csv"
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 8
    for row in rows:
        assert predicted[row["image"]][row["label"]] == pytest.approx(float(row["probability_of_label"]), abs=1e-5)

    ran = commands.run("scripts/evaluate.py", model, f"dataset.path={wide_photos}")
    assert ran.code == 0, ran.err
    right = [max(found, key=found.get) == name.split("/")[0] for name, found in predicted.items()]
    refused = commands.run("scripts/evaluate.py", model, f"dataset.path={wide_photos}", "dataset.resize=pad")
    assert refused.code == 1
    assert refused.err.startswith("error: dataset.resize=pad: the network was trained with dataset.resize=crop")
    (evaluated,) = {path for path in commands.outputs.glob("**/evaluation.json") if "artifacts" not in path.parts}
    assert json.loads(evaluated.read_text())["metrics"]["accuracy"] == pytest.approx(sum(right) / 32)

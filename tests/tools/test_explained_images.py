"""Images under their Grad-CAM, as predict writes them."""

import csv
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from thaw.common.errors import UserError
from thaw.data.decode import DEFAULT_OPTIONS
from thaw.results.predicted_files import PredictedImage
from thaw.results.trained_classifier import Classifier, InferenceSettings
from thaw.tools import picture_captions
from thaw.tools.explained_images import ExplainedImages, check_explain_folder
from thaw.tools.picture_captions import captioned, has_letters

NAMES = ["lion", "=tiger"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list:
    """What Grad-CAM is asked for; its heat is the upper left quarter, and none for the first class."""
    calls = []

    class GradCam:
        def __init__(self, model: object) -> None:
            calls.append(model)

        def __call__(self, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
            calls.append((images.shape, classes.tolist()))
            heat = np.zeros((len(images), 4, 4), np.float32)
            heat[:, :2, :2] = classes[:, None, None]
            return heat

    monkeypatch.setitem(sys.modules, "thaw.models.grad_cam", SimpleNamespace(GradCam=GradCam))
    return calls


def explain(folder: Path, files: list[str], outputs: list[int]) -> None:
    explained = ExplainedImages(
        str(folder), files, Classifier("a model", NAMES, 8, InferenceSettings()), DEFAULT_OPTIONS
    )
    rows = np.array([[0.75, 0.25], [0.125, 0.875]], np.float32)[outputs]
    pixels = np.zeros((8, 8, 3), np.uint8)
    explained.add([PredictedImage(file, pixels, row) for file, row in zip(files, rows, strict=True)])
    explained.finish()


def test_every_image_is_written_under_the_heat_of_its_predicted_class_and_listed(tmp_path, asked, capsys) -> None:
    files = [str(tmp_path / name) for name in ("a/1.png", "b/1.png")]
    for file in files:
        Path(file).parent.mkdir()
        Image.new("RGB", (32, 16), (0, 200, 0)).save(file)
    explain(tmp_path / "new" / "explained", files, [1, 0])
    assert asked == ["a model", ((2, 8, 8, 3), [1, 0])]
    folder = tmp_path / "new" / "explained"
    with (folder / "explain.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert rows == [
        {"image": files[0], "class": "'=tiger", "probability": "0.875", "file": "a-1.png"},
        {"image": files[1], "class": "lion", "probability": "0.75", "file": "b-1.png"},
    ]
    assert sorted(file.name for file in folder.iterdir()) == ["a-1.png", "b-1.png", "explain.csv"]
    hot, cold = (np.asarray(Image.open(folder / name))[:240].astype(int) for name in ("a-1.png", "b-1.png"))
    assert hot.shape == (240, 480, 3), "in its own proportions, with the caption below"
    assert np.abs(hot[60, 60] - (0, 200, 0)).max() > 50
    assert np.abs(hot[200, 400] - (0, 200, 0)).max() < 5
    assert np.abs(cold - (0, 200, 0)).max() < 5
    printed = capsys.readouterr()
    assert printed == ("", f"wrote 2 explained images and explain.csv into {folder}\n")


def test_a_file_is_no_folder_for_explanations(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(UserError, match="is a file; give a folder, which is made if it is missing"):
        check_explain_folder(str(tmp_path / "a"))
    check_explain_folder(str(tmp_path / "b"))


def ink(picture: Image.Image) -> np.ndarray:
    """Where the caption of a grey picture of 40 pixels' height is not white."""
    return np.asarray(picture.convert("L"))[40:] < 200


def test_a_caption_stands_below_and_is_shortened_to_the_width() -> None:
    grey = Image.new("RGB", (200, 40), (90, 90, 90))
    short, long = captioned(grey, "café · 0.93"), captioned(grey, "a long name of a class " * 9)
    assert short.size == long.size == (200, 40 + 34)
    assert np.array_equal(np.asarray(short)[:40], np.asarray(grey))
    assert ink(short).any()
    assert not ink(long)[:, -6:].any(), "it ends before the margin"
    assert ink(long)[:, 150:].any()
    assert captioned(Image.new("RGB", (3, 40)), "lion").size == (3, 74)


def test_letters_that_the_font_lacks_are_known() -> None:
    assert has_letters("Jeans über Хлопок Ελιά · 0.93")
    assert not has_letters("猫")


def test_without_the_font_there_is_no_caption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_captions, "_font", lambda: None)
    picture = Image.new("RGB", (20, 10))
    assert captioned(picture, "lion") is picture
    assert not has_letters("lion")


def test_no_picture_replaces_an_image_or_a_file_that_may_be_somebodys(tmp_path: Path, asked) -> None:
    photo = tmp_path / "mine.png"
    Image.new("RGB", (8, 8), "red").save(photo)
    before = photo.read_bytes()
    with pytest.raises(UserError, match=r"would replace the image .*mine\.png. Write elsewhere"):
        explain(tmp_path, [str(photo)], [0])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.png").write_bytes(b"a picture of mine")
    with pytest.raises(UserError, match=r"would replace .*elsewhere/mine\.png, and without explain\.csv beside it"):
        explain(elsewhere, [str(photo)], [0])
    assert photo.read_bytes() == before
    assert (elsewhere / "mine.png").read_bytes() == b"a picture of mine"
    (elsewhere / "mine.png").unlink()
    explain(elsewhere, [str(photo)], [0])
    explain(elsewhere, [str(photo)], [0])  # again: these are its own

"""The charts that predict writes: which images have one, and in which file."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thaw.common.errors import UserError
from thaw.data.decode import DEFAULT_OPTIONS, DecodeOptions
from thaw.report import prediction_charts
from thaw.results.predicted_files import PredictedImage
from thaw.tools import chart_files
from thaw.tools.chart_files import ChartFiles, check_chart


def photos(folder: Path, names: list[str]) -> list[str]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 16), (0, 200, 0)).save(folder / name)
    return [str(folder / name) for name in names]


def predicted(file: str) -> PredictedImage:
    return PredictedImage(file, np.zeros((8, 8, 3), np.uint8), np.array([0.25, 0.75], np.float32))


def test_a_single_image_has_the_chart_that_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (file,) = photos(tmp_path, ["a.png"])
    charts = ChartFiles(str(tmp_path / "out.PNG"), [file], ["no", "yes"], 5, DEFAULT_OPTIONS)
    charts.add(predicted(file))
    charts.report()
    image = Image.open(tmp_path / "out.PNG")
    assert image.format == "PNG"
    wide = np.all(np.asarray(image.convert("RGB")) == (0, 200, 0), axis=2)
    height, width = (np.ptp(np.nonzero(wide.any(axis=1 - axis))) + 1 for axis in (0, 1))
    assert width / height == pytest.approx(4, abs=0.1), "the picture keeps its proportions"
    assert capsys.readouterr() == ("", f"wrote {tmp_path / 'out.PNG'}\n"), "a listing may go to standard output"


def test_several_images_have_a_chart_each_and_the_first_hundred_are_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(prediction_charts, "prediction_png", lambda image, top: image.name.encode())
    monkeypatch.setattr(chart_files, "MAX_CHARTS", 3)
    files = photos(tmp_path, ["a/1.png", "b/1.png", "2.png", "3.png"])
    charts = ChartFiles(str(tmp_path / "out.png"), files, ["no", "yes"], 5, DEFAULT_OPTIONS)
    for file in (files[0], *files[2:]):  # the second cannot be read
        charts.add(predicted(file))
    charts.report()
    assert {file.name: file.read_bytes() for file in tmp_path.glob("out*")} == {
        "out-a-1.png": b"1.png", "out-2.png": b"2.png",
    }  # fmt: skip
    assert capsys.readouterr().err == (
        f"wrote 2 charts, {tmp_path / 'out-a-1.png'} to out-2.png\nnote: only the first 3 of 4 images have a chart\n"
    )


def test_a_name_that_is_no_png_or_lies_nowhere_is_refused(tmp_path: Path) -> None:
    for chart in ("out.jpg", "out", ".png"):
        with pytest.raises(UserError, match=rf"chart={chart} is drawn as PNG: give a name that ends in \.png"):
            check_chart(chart)
    with pytest.raises(UserError, match="its folder does not exist; make it first"):
        check_chart(str(tmp_path / "absent" / "out.png"))
    check_chart(str(tmp_path / "out.png"))


def test_the_pixels_of_a_chart_are_read_as_those_of_its_network(tmp_path: Path, monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(prediction_charts, "prediction_png", lambda image, top: seen.append(image.picture) or b"")
    Image.fromarray(np.full((8, 8), 4095, np.uint16)).save(tmp_path / "a.png")
    for bits in (None, 12):
        ChartFiles(str(tmp_path / "out.png"), [str(tmp_path / "a.png")], ["no", "yes"], 5, DecodeOptions(bits)).add(
            predicted(str(tmp_path / "a.png"))
        )
    levels = [np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))).mean() for uri in seen]
    assert levels == pytest.approx([15, 255], abs=2)


def test_no_chart_replaces_an_image(tmp_path: Path) -> None:
    (photo,) = photos(tmp_path, ["a.png"])
    with pytest.raises(UserError, match=r"chart=.*a\.png would replace the image"):
        ChartFiles(photo, [photo], ["a", "b"], 2, DEFAULT_OPTIONS)
    link = tmp_path / "link-to.png"
    link.symlink_to(photo)
    with pytest.raises(UserError, match="would replace the image"):
        ChartFiles(str(link), [photo], ["a", "b"], 2, DEFAULT_OPTIONS)

"""The chart of one image's prediction."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from thaw.report.drawing import PNG_SCALE
from thaw.report.prediction_charts import MAX_BARS, ChartedImage, prediction_png, prediction_spec


def red_picture() -> str:
    file = io.BytesIO()
    Image.new("RGB", (40, 20), (255, 0, 0)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def charted(count: int, peak: int, names: list[str] | None = None) -> ChartedImage:
    probabilities = np.full(count, 0.1 / (count - 1), np.float32)
    probabilities[peak] = 0.9
    return ChartedImage("café\n.jpg", red_picture(), probabilities, names or [f"class {i}" for i in range(count)])


def bars_of(image: ChartedImage, top: int) -> tuple[list[dict], list[str]]:
    """The rows of the bar chart, and its classes from top to bottom."""
    spec = prediction_spec(image, top)
    bars = spec["vconcat"][0]["hconcat"][1]
    return spec["datasets"][bars["data"]["name"]], bars["layer"][0]["encoding"]["y"]["sort"]


@pytest.mark.parametrize(("count", "peak", "align"), [(1000, 985, "right"), (10, 0, "left"), (2, 1, "right")])
def test_the_peak_of_the_output_vector_is_named(count: int, peak: int, align: str) -> None:
    spec = prediction_spec(charted(count, peak), top=5)
    stems, dot, text = spec["vconcat"][1]["layer"]
    rows = spec["datasets"][stems["data"]["name"]]
    assert [row["output"] for row in rows] == list(range(count))
    assert rows[peak]["probability"] == pytest.approx(0.9)
    assert dot["data"] == text["data"]
    (named,) = spec["datasets"][text["data"]["name"]]
    assert named == {**rows[peak], "peak": f"class {peak} · 0.900 · output {peak}"}
    assert text["encoding"]["text"]["field"] == "peak"
    assert text["mark"]["align"] == align, "the name is written towards the middle"


def test_the_top_classes_are_bars_from_the_most_probable_down_and_two_of_one_name_are_two() -> None:
    image = charted(4, 2, ["crane", "lark", "crane", "owl"])
    image.probabilities[:] = (0.2, 0.07, 0.7, 0.03)
    rows, order = bars_of(image, top=3)
    assert order == [row["class"] for row in rows] == ["crane", "crane (2)", "lark"]
    assert [row["probability"] for row in rows] == pytest.approx([0.7, 0.2, 0.07])


def test_a_chart_has_no_more_bars_than_fit() -> None:
    assert len(bars_of(charted(50, 1), top=40)[0]) == MAX_BARS
    assert len(bars_of(charted(2, 1), top=40)[0]) == 2


@pytest.mark.parametrize("names", [None, ["$\\sum_x$ <b>&amp;</b> " * 20, 'a"b\n', "\ud800", "", "=1+1"]])
def test_the_drawing_is_a_png_as_wide_as_its_parts_whatever_a_class_is_called(names: list[str] | None) -> None:
    image = Image.open(io.BytesIO(prediction_png(charted(5, 0, names), top=5)))
    image.load()
    assert image.format == "PNG"
    width, height = (side / PNG_SCALE for side in image.size)
    assert 640 + 2 * 16 < width < 800
    assert 240 + 180 + 2 * 16 < height < 600
    colours = {colour for _, colour in image.convert("RGB").getcolors(10**6)}
    assert {(255, 0, 0), (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours, "picture, bars and peak are drawn"

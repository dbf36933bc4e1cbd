"""What a network says of one image, as a picture: its output vector with the peak named, and its top classes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt
import vl_convert

from thaw.report.chart_theme import chart_config
from thaw.report.drawing import PNG_SCALE, VEGA_LITE, chart_names, rows

MAX_BARS = 20  # classes that the bar chart shows at most
PICTURE_SIDE = 240  # of the picture's longer side, in units of PNG_SCALE pixels
_NAME_LETTERS, _TITLE_LETTERS = 36, 80  # of the peak's name, and of the file's
_NUMBERED = 20  # outputs that all have their number at the axis
_WIDTH, _HEIGHT, _BAR_HEIGHT = 640, 180, 22  # of the output vector, and of one bar, in units


@dataclass(frozen=True, eq=False)
class ChartedImage:
    """An image and what a network says of it.

    name: its file. picture: an address of its pixels, `data:image/jpeg;base64,...`. probabilities: float32 (C,).
    class_names: C names.
    """

    name: str
    picture: str
    probabilities: npt.NDArray[np.float32]
    class_names: Sequence[str]


def prediction_png(image: ChartedImage, top: int) -> bytes:
    """Draw the picture, its `top` classes beside it, and below them the output vector."""
    return vl_convert.vegalite_to_png(json.dumps(prediction_spec(image, top)), vl_version=VEGA_LITE, scale=PNG_SCALE)


def prediction_spec(image: ChartedImage, top: int) -> dict[str, Any]:
    """Return the Vega-Lite specification of the drawing; at most MAX_BARS classes have a bar."""
    best = np.argsort(-image.probabilities, kind="stable")[: min(top, MAX_BARS)]
    charts = alt.vconcat(alt.hconcat(_picture(image), _bars(image, best), spacing=24), _vector(image), spacing=28)
    spec = charts.to_dict(validate=False)  # which takes long for each of a thousand rows
    (name,) = chart_names([image.name], _TITLE_LETTERS)
    title = {"text": name, "fontSize": 16, "offset": 14}
    return {**spec, "title": title, "padding": 16, "config": chart_config(still=True)}


def _picture(image: ChartedImage) -> alt.Chart:
    """Draw the picture into a square, with its own proportions."""
    return (
        alt.Chart(rows([{"url": image.picture}]), width=PICTURE_SIDE, height=PICTURE_SIDE)
        .mark_image(width=PICTURE_SIDE, height=PICTURE_SIDE, aspect=True, align="left", baseline="top")
        .encode(url="url:N", x=alt.value(0), y=alt.value(0))
    )


def _bars(image: ChartedImage, best: npt.NDArray[np.intp]) -> alt.LayerChart:
    names = chart_names([image.class_names[i] for i in best])
    values = [
        {"class": name, "probability": float(image.probabilities[i])} for name, i in zip(names, best, strict=True)
    ]
    base = alt.Chart(rows(values), width=_WIDTH - PICTURE_SIDE - 190, height=_BAR_HEIGHT * len(best)).encode(
        x=alt.X("probability:Q", title="probability", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(tickCount=5)),
        y=alt.Y("class:N", title=None, sort=names, axis=alt.Axis(labelPadding=6)),
    )
    label = base.mark_text(align="left", dx=4).encode(text=alt.Text("probability:Q", format=".3f"))
    return alt.LayerChart(layer=[base.mark_bar(height={"band": 0.7}), label])


def _vector(image: ChartedImage) -> alt.LayerChart:
    """Draw a stem for each output, which a thousand classes leave readable, and name the highest."""
    count, peak = len(image.probabilities), int(image.probabilities.argmax())
    values = [{"output": i, "probability": float(p)} for i, p in enumerate(image.probabilities)]
    highest = max(float(image.probabilities[peak]), 1e-6)
    (name,) = chart_names([image.class_names[peak]], _NAME_LETTERS)
    label = f"{name} · {highest:.3f} · output {peak}"
    x = alt.X(
        "output:Q",
        title=f"output, 0 to {count - 1}",
        scale=alt.Scale(domain=[-0.5, count - 0.5], nice=False),
        axis=alt.Axis(grid=False, format="d", values=list(range(count)) if count <= _NUMBERED else alt.Undefined),
    )
    y = alt.Y(
        "probability:Q", title="probability", scale=alt.Scale(domain=[0, 1.18 * highest], nice=False),
        axis=alt.Axis(tickCount=5),
    )  # fmt: skip
    thickness = float(np.clip(0.5 * _WIDTH / count, 1, 10))
    stems = alt.Chart(rows(values)).mark_rule(strokeWidth=thickness, color="#0072b2").encode(x=x, y=y)
    top = alt.Chart(rows([{**values[peak], "peak": label}])).encode(x=x, y=y)
    on_the_left = peak < count / 2  # the label is written towards the middle
    text = top.mark_text(align="left" if on_the_left else "right", dx=8 if on_the_left else -8, dy=-8)
    dot = top.mark_point(filled=True, size=50, color="#d55e00", opacity=1)
    return alt.LayerChart(layer=[stems, dot, text.encode(text="peak:N")], width=_WIDTH, height=_HEIGHT)

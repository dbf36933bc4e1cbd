"""Maps of features in two dimensions, coloured by class, with the mistakes marked."""

import altair as alt

from thaw.common.console import printable
from thaw.report.content import FeatureMap
from thaw.report.drawing import ZOOM_HINT, Drawing, chart_names, file_key, layered, legend_columns, rows, zoom

COLOURED_UP_TO = 20  # classes; above that only right and wrong are told apart
_COLOURS = 10
_CROSS = "M-.7,-.7L.7,.7M.7,-.7L-.7,.7"


def feature_drawing(feature_map: FeatureMap) -> Drawing | None:
    """Draw a map; None without points. Up to 20 classes have colours, from the eleventh on with another shape."""
    if not feature_map.points:
        return None
    names = list(dict.fromkeys(str(point["class"]) for point in feature_map.points))
    shown = dict(zip(sorted(names), chart_names(sorted(names)), strict=True))
    points = [
        {"x": float(p["x"]), "y": float(p["y"]), "class": shown[str(p["class"])], "file": _file_name(str(p["file"])),
         "correct": bool(p["correct"]), "result": "right" if p["correct"] else "wrong"}
        for p in feature_map.points
    ]  # fmt: skip
    wrong = sum(not point["correct"] for point in points)
    by_class = len(names) <= COLOURED_UP_TO
    axis = alt.Axis(labels=False, ticks=False, domain=False, grid=True)
    base = alt.Chart(rows(points)).encode(
        x=alt.X("x:Q", title=None, axis=axis, scale=alt.Scale(zero=False)),
        y=alt.Y("y:Q", title=None, axis=axis, scale=alt.Scale(zero=False)),
        color=_class_colour(list(shown.values())) if by_class else _result_colour(),
        tooltip=["class:N", "result:N", "file:N"],
    )
    right = base.transform_filter("datum.correct").mark_point(filled=True, size=26, opacity=0.6, clip=True)
    if by_class:
        right = right.encode(shape=_class_shape(list(shown.values())))
    mistakes = base.transform_filter("!datum.correct")
    outline = mistakes.mark_point(shape=_CROSS, size=80, strokeWidth=3.6, clip=True)
    outline = outline.encode(color=alt.value("#6b6b6b"))
    crosses = mistakes.mark_point(shape=_CROSS, size=70, strokeWidth=2, clip=True, opacity=1)
    chart = layered(right.add_params(zoom()), outline, crosses, height=380)
    description = (
        f"{feature_map.title}: {len(points):,} images of {len(names):,} classes, {wrong:,} of them in a wrong class "
        f"(crosses). {feature_map.explained}"
    )
    return Drawing(
        f"features-{file_key(feature_map.key)}", feature_map.title, description, [chart],
        table="figures.json", hint=ZOOM_HINT, max_width=720, png_width=520, canvas=True,
    )  # fmt: skip


def _file_name(file: str) -> str:
    """The end of a file's path, which tells files apart: 2,000 long paths would fill the page."""
    return printable(file if len(file) <= 60 else f"…{file[-59:]}")


def _class_colour(names: list[str]) -> alt.Color:
    legend = alt.Legend(title=None, orient="bottom", columns=legend_columns(names)) if len(names) > 1 else None
    return alt.Color("class:N", scale=alt.Scale(domain=names), legend=legend)


def _class_shape(names: list[str]) -> alt.Shape:
    shapes = ["circle" if i < _COLOURS else "triangle-up" for i in range(len(names))]
    return alt.Shape("class:N", scale=alt.Scale(domain=names, range=shapes))


def _result_colour() -> alt.Color:
    scale = alt.Scale(domain=["right", "wrong"], range=["#8c96a0", "#d55e00"])
    return alt.Color("result:N", scale=scale, legend=alt.Legend(title=None))

"""The benchmark's picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_COLOURS = {"thaw": "#1f77b4", "thaw, second": "#7fb3d9", "Keras": "#d95f02"}

Points = Sequence[Sequence[float]]


def benchmark_png(
    ratios: Sequence[tuple[str, float, float | None]],
    lines: Mapping[str, Mapping[str, Points]],
    caption: str,
    path: Path,
) -> None:
    """Draw how many times as fast thaw is, and how seconds grow with images and with a sweep's jobs.

    ratios: name, ratio and target (None: none). lines: points (x, seconds) by name, for the panels `images` and `jobs`.
    A panel without anything to show is left out.
    """
    from matplotlib.figure import Figure

    panels = [name for name in ("images", "jobs") if lines.get(name)]
    wide = [2.0] * bool(ratios) + [1.5] * len(panels)
    if not wide:
        return
    # A Figure without pyplot, as in `report`: no window system, no global state.
    figure = Figure(figsize=(3.6 * sum(wide), max(5.0, 1.5 + 0.28 * len(ratios))), layout="constrained")
    places = list(figure.subplots(1, len(wide), width_ratios=wide, squeeze=False)[0])
    if ratios:
        _bars(places.pop(0), ratios)
    for axes, name in zip(places, panels, strict=True):
        _growth(axes, lines[name], name)
    figure.supxlabel(caption, fontsize=8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, format="png")


def _bars(axes: Any, ratios: Sequence[tuple[str, float, float | None]]) -> None:
    for place, (_, ratio, target) in enumerate(ratios):
        axes.barh(place, ratio, color=_COLOURS["thaw"], height=0.65)
        axes.annotate(f"{ratio:.1f}x", (ratio, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
        if target is not None:
            axes.plot([target, target], [place - 0.42, place + 0.42], color="black", linewidth=2)
    axes.axvline(1, color=_COLOURS["Keras"], linewidth=1)
    axes.margins(x=0.15)
    axes.set_xlim(left=0)
    axes.set_yticks(range(len(ratios)), [name for name, _, _ in ratios], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("times as fast as Keras float32 (black: target)")


def _growth(axes: Any, lines: Mapping[str, Points], name: str) -> None:
    for label, points in lines.items():
        side = "thaw, second" if "second" in label else label.split()[0].rstrip(",")
        x, seconds = zip(*points, strict=True)
        axes.plot(x, seconds, marker="o", markersize=4, label=label, color=_COLOURS.get(side, "#555555"))
    if name == "images":
        axes.set_xscale("log")
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel("images" if name == "images" else "jobs of a sweep")
    axes.set_ylabel("seconds")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)

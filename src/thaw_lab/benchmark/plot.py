"""The benchmark's picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_COLORS = {"thaw": "#1f77b4", "thaw, second": "#7fb3d9", "Keras": "#d95f02"}

Points = Sequence[Sequence[float]]


def benchmark_png(
    ratios: Sequence[tuple[str, float, float | None]],
    curves: Mapping[str, Mapping[str, Points]],
    caption: str,
    path: Path,
) -> None:
    """Draw how many times as fast thaw is, and how seconds grow with images and with a sweep's jobs.

    A panel without anything to show is left out.

    Args:
        ratios: name, ratio and target, None: there is none.
        curves: points (x, seconds) by name, for the panels `images` and `jobs`.
        caption: below the picture.
        path: the PNG file to write.
    """
    from matplotlib.figure import Figure

    panels = [name for name in ("images", "jobs") if curves.get(name)]
    widths = [2.0] * bool(ratios) + [1.5] * len(panels)
    if not widths:
        return
    # A Figure without pyplot needs no window system and no global state.
    figure = Figure(figsize=(3.6 * sum(widths), max(5.0, 1.5 + 0.28 * len(ratios))), layout="constrained")
    axes = list(figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0])
    if ratios:
        _bars(axes.pop(0), ratios)
    for panel, name in zip(axes, panels, strict=True):
        _curves(panel, curves[name], name)
    figure.supxlabel(caption, fontsize=8)
    figure.savefig(path, dpi=120, format="png")


def _bars(axes: Any, ratios: Sequence[tuple[str, float, float | None]]) -> None:
    for y, (_, ratio, target) in enumerate(ratios):
        axes.barh(y, ratio, color=_COLORS["thaw"], height=0.65)
        axes.annotate(f"{ratio:.1f}x", (ratio, y), (4, 0), textcoords="offset points", va="center", fontsize=8)
        if target is not None:
            axes.plot([target, target], [y - 0.42, y + 0.42], color="black", linewidth=2)
    axes.axvline(1, color=_COLORS["Keras"], linewidth=1)
    axes.margins(x=0.15)
    axes.set_xlim(left=0)
    axes.set_yticks(range(len(ratios)), [name for name, _, _ in ratios], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("times as fast as Keras float32 (black: target)")


def _curves(axes: Any, curves: Mapping[str, Points], panel: str) -> None:
    for label, points in curves.items():
        side = "thaw, second" if "second" in label else label.split()[0].rstrip(",")
        x, seconds = zip(*points, strict=True)
        axes.plot(x, seconds, marker="o", markersize=4, label=label, color=_COLORS.get(side, "#555555"))
    if panel == "images":
        axes.set(xscale="log", yscale="log", xlabel="images", ylabel="seconds")
    else:
        axes.set(ylim=(0, None), xlabel="jobs of a sweep", ylabel="seconds")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)

"""Writes a report into a folder: the page, the numbers, the tables, and pictures for slides."""

from collections.abc import Iterator
from pathlib import Path

from thaw.common.files import write_atomically
from thaw.report.contact_sheets import contact_sheet_png
from thaw.report.content import ReportContent
from thaw.report.drawing import file_key
from thaw.report.figure_tables import write_tables
from thaw.report.figures_file import write_figures
from thaw.report.page import report_page
from thaw.report.report_drawings import ReportDrawings, report_drawings, with_fewer_points


def write_report(content: ReportContent, folder: Path, kind: str = "full") -> list[Path]:
    """Write report.html, figures.json and the CSV tables, and with kind `full` charts and galleries as PNG.

    kind: `full` or `short`. Each file is there whole or not at all. Returns the files, the page first. Raises
    ValueError for another kind.
    """
    if kind not in ("full", "short"):
        raise ValueError(f"a report's kind is full or short, not {kind!r}")
    folder.mkdir(parents=True, exist_ok=True)
    content = with_fewer_points(content)
    drawings = report_drawings(content)
    page, figures = folder / "report.html", folder / "figures.json"
    write_atomically(page, report_page(content, drawings).encode())
    write_figures(content, figures)
    written = [page, figures, *write_tables(content.splits, folder)]
    for name, png in _pictures(content, drawings) if kind == "full" else ():
        write_atomically(folder / name, png)
        written.append(folder / name)
    return written


def _pictures(content: ReportContent, drawings: ReportDrawings) -> Iterator[tuple[str, bytes]]:
    """Draw each chart and each gallery: a file's name, and its PNG."""
    for drawing in drawings.for_slides():
        yield f"{drawing.key}.png", drawing.png()
    for gallery in (*content.galleries, *content.explanations, *content.inputs):
        if gallery.images:
            yield f"gallery-{file_key(gallery.key)}.png", contact_sheet_png(gallery)

"""Writes a report into a folder: the page, the numbers, the tables, and pictures for slides."""

from pathlib import Path
from typing import Literal

from thaw.common.files import write_atomically
from thaw.report.content import ReportContent
from thaw.report.figure_tables import write_tables
from thaw.report.figures_file import write_figures
from thaw.report.page import report_page


def write_report(content: ReportContent, folder: Path, kind: Literal["full", "short"] = "full") -> list[Path]:
    """Write report.html, figures.json and the CSV tables, and with `full` also charts and galleries as PNG.

    Each file is there whole or not at all. Returns the files, the page first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page, figures = folder / "report.html", folder / "figures.json"
    write_atomically(page, report_page(content).encode())
    write_figures(content, figures)
    return [page, figures, *write_tables(content.splits, folder)]

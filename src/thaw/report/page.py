"""report.html: a report's content as one page, which opens from disk and needs no network."""

from thaw.report.content import ReportContent
from thaw.report.page_base import render_page

MAX_CLASS_ROWS = 1000  # in the page's table; classes.csv has all


def report_page(content: ReportContent) -> str:
    """Return the page."""
    return render_page(
        "report.html",
        title=content.title,
        subtitle=content.subtitle,
        content=content,
        split=content.splits[0],
        max_class_rows=MAX_CLASS_ROWS,
    )

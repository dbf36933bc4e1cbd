"""Tables of texts: for the terminal, and as Markdown."""

from collections.abc import Collection, Iterable, Sequence

from rich.table import Table


def rich_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: Collection[str], title: str = "", caption: str = ""
) -> Table:
    """Return a table for the terminal. left: columns of text, which wrap; the others are figures, aligned right."""
    table = Table(title=title or None, title_justify="left", caption=caption or None, caption_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right", no_wrap=column not in left)
    for row in rows:
        table.add_row(*row)
    return table


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose first column is text, the others figures."""
    lines = [columns, ("---", *["---:"] * (len(columns) - 1)), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)

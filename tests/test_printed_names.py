"""Names come out as they are, and steer nothing."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from thaw.common import console

NAMES = ["plate:100:", "[bold]x[/bold]", "[/]", ":smile:", "[link=https://x.y]a[/link]", "1.5 'a' True None", "a\\[b]"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_printed_as_it_is(name: str, capsys) -> None:
    table = Table(title=name, caption=name)
    table.add_column(name)
    table.add_row(name)
    console.say(name)
    console.print_table(table)
    out = capsys.readouterr().out
    assert out.count(name) == 5
    assert "\x1b" not in out


@pytest.mark.parametrize("name", NAMES)
def test_a_name_on_a_terminal_is_the_same(name: str, monkeypatch) -> None:
    terminal = io.StringIO()
    own = console._console
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    settings = {key: getattr(own, f"_{key}") for key in ("markup", "emoji", "highlight")}
    shown = Console(file=terminal, force_terminal=True, width=200, **settings)
    monkeypatch.setattr(console, "_console", shown)
    monkeypatch.setattr("sys.stdout", terminal)
    table = Table()
    table.add_column(name)
    console.print_table(table)
    with console.progress(name, 3) as steps:
        steps.advance(1)
        steps._progress.refresh()
    assert name in terminal.getvalue().split("\x1b")[0] or name in terminal.getvalue()
    assert terminal.getvalue().count(name) >= 2


def test_what_would_steer_a_terminal_is_escaped(capsys) -> None:
    console.say("a\x1b[2Jb\rc\x07d\x9bm\ne")
    assert capsys.readouterr().out == "a\\x1b[2Jb\\rc\\x07d\\x9bm\ne\n"
    assert console.printable("a\nb\x1b]0;x\x07") == "a\\nb\\x1b]0;x\\x07"
    assert console.printable(console.printable("a\x1b\\")) == console.printable("a\x1b\\")

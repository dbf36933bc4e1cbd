"""Progress without a terminal, outputs that are closed, and names that are printed as they are."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from thaw.common import console

SRC = Path(__file__).parents[2] / "src"
NAMES = ["plate:100:", "[bold]x[/bold]", "[/]", ":smile:", "[link=https://x.y]a[/link]", "1.5 'a' True None", "a\\[b]"]


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(console, "time", made)
    monkeypatch.setattr(console._Shell, "output_is_data", False)  # a script that ran in this process has set it
    return made


def test_long_work_leaves_a_line_now_and_then_where_there_is_no_terminal(clock: Clock, capsys) -> None:
    printed = []
    with console.progress("frozen activations", 50_000) as steps:
        for second in range(1, 1801):
            clock.now = float(second)
            steps.advance(20)
            if out := capsys.readouterr().out:
                printed.append((second, out))
    assert [second for second, _ in printed] == [30, 90, 210, 450, 750, 1050, 1350, 1650]
    assert printed[2][1] == "frozen activations 4,200 of 50,000 · 8 % · 38 min left\n"


def test_short_work_leaves_no_line(clock: Clock, capsys) -> None:
    with console.progress("frozen activations", 3) as steps:
        for clock.now in (10.0, 20.0, 29.0):
            steps.advance()
    with console.progress("nothing", 0):
        clock.now = 100.0
    with console.progress("one long step, and all is done", 1) as steps:
        clock.now = 200.0
        steps.advance()
    assert capsys.readouterr() == ("", "")


def test_output_that_a_program_reads_has_no_line_of_progress(clock: Clock, capsys, monkeypatch) -> None:
    monkeypatch.setattr(console._Shell, "output_is_data", True)
    with console.progress("predicting", 10) as steps:
        clock.now = 60.0
        steps.advance(5)
    assert capsys.readouterr() == ("", "predicting 5 of 10 · 50 % · 60 s left\n")


def test_a_path_is_printed_as_it_is(capsys) -> None:
    console.say("photos/:apple:/[bold]1")
    assert capsys.readouterr().out == "photos/:apple:/[bold]1\n"


def test_paths_are_printed_from_the_shells_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(console._Shell, "folder", None)
    monkeypatch.chdir(tmp_path)
    assert console.display_path(tmp_path / "a" / "b") == Path("a/b")
    console.print_paths_from(tmp_path / "a")
    assert console.display_path(tmp_path / "a" / "b") == Path("b")
    assert console.display_path(tmp_path / "c") == tmp_path / "c"


def test_an_output_that_is_gone_ends_no_work(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom thaw.common.console import say\n"
        "for i in range(200):\n    say(f'line {i}')\n    time.sleep(0.005)\n"
        "open(sys.argv[1], 'w').write('done')"
    )
    env = {**os.environ, "PYTHONPATH": str(SRC)}
    command = f"'{sys.executable}' -c \"$CODE\" '{tmp_path}/end' | head -1"
    done = subprocess.run(["sh", "-c", command], env={**env, "CODE": code}, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("line 0\n", "")
    for _ in range(200):  # the shell waits for the last of the pipe only
        if (tmp_path / "end").exists():
            break
        time.sleep(0.1)
    assert (tmp_path / "end").read_text() == "done"


def test_sizes_are_written_for_people():
    sizes = (0, 999, 1000, 512e6, 1.25e9, 20e9, 1500e9)
    assert [console.format_bytes(size) for size in sizes] == [
        "0 bytes", "999 bytes", "1.0 kB", "512.0 MB", "1.2 GB", "20.0 GB", "1.5 TB",
    ]  # fmt: skip


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
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    settings = {key: getattr(console._console, f"_{key}") for key in ("markup", "emoji", "highlight")}
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

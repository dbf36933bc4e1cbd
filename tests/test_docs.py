"""README and the documentation site: it builds offline, and its commands, printed lines and paths are thaw's."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from thaw.__main__ import TOOLS
from thaw.cli.argument_quoting import quote_texts
from thaw.cli.command_line import several_networks
from thaw.cli.compose import compose_config
from thaw.config.checks import check_config
from thaw.config.schema import Config

from .conftest import Commands
from .data.pictures import photo, write_image

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_NAMES = "|".join(("train", *TOOLS))
_SCRIPTS = r"python (?:scripts/(\w+)|(train))\.py|\./scripts/(train)"
_COMMAND = re.compile(rf"^(?:\$ )?(?:thaw ({_NAMES})\b|{_SCRIPTS})(?: +(.*))?$")


def commands_of(page: Path) -> list[tuple[str, list[str]]]:
    """The commands in a page's code blocks: name and arguments of each."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    matches = [_COMMAND.match(line.partition("   #")[0].strip()) for block in blocks for line in block.splitlines()]
    return [(next(filter(None, m.groups()[:4])), shlex.split(m[5] or "")) for m in matches if m]


def written() -> list[tuple[Path, str, list[str]]]:
    return [(page, name, arguments) for page in PAGES for name, arguments in commands_of(page)]


@pytest.mark.parametrize(
    ("page", "name", "arguments"), written(), ids=lambda v: v.name if isinstance(v, Path) else " ".join(v)[:60]
)
def test_every_command_of_the_documentation_is_understood(page: Path, name: str, arguments: list[str]) -> None:
    keys = [argument for argument in arguments if not argument.startswith("-") and "..." not in argument]
    keys = [key for key in keys if not key.startswith(("experiment=birds", "resume="))]  # of the reader's own
    if name in ("benchmark", "faults"):
        return
    schema = Config if name == "train" else TOOLS[name]
    first = [re.sub(r"(?<=[=,])([^,'{\[(]+),.*", r"\1", key) if "-m" in arguments else key for key in keys]
    first = [key.replace("range(5)", "0") for key in first]
    first = several_networks(first) if name == "advise" else first
    config = compose_config("config" if name == "train" else name, schema, quote_texts(first, schema, sweeps=False))
    if name == "train":
        check_config(config)


def test_the_commands_of_the_documentation_are_found() -> None:
    """Else the test above asserts nothing."""
    names = [name for _, name, _ in written()]
    assert len(names) > 30
    assert {"train", "predict", "explore", "layers", "reproduce"} <= set(names)


def test_the_readme_is_read_in_five_minutes() -> None:
    assert (ROOT / "README.md").stat().st_size < 10_000


def printed_rows() -> list[str]:
    """The lines of docs/reference/printed-lines.md: the code in the first column of its tables."""
    page = (ROOT / "docs" / "reference" / "printed-lines.md").read_text(encoding="utf-8").partition("## Exit codes")[0]
    return [line for cell in re.findall(r"^\| (`.*?`) \|", page, re.M) for line in re.findall("`([^`]+)`", cell)]


# A name in capitals, a number, more text.
_PLACEHOLDER = re.compile(r"(\b(?!GPU\b)[A-Z]{2,}\b|\bN\b| ?\.\.\.)")


def row_pattern(row: str) -> str:
    """A row of that page as a regular expression."""
    patterns = {"N": r"[\d.,e+-]+", "...": ".*", " ...": ".*"}
    parts = enumerate(_PLACEHOLDER.split(row))
    return "".join(patterns.get(part, ".+") if i % 2 else re.escape(part) for i, part in parts)


def test_every_line_of_the_quickstart_is_explained() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = readme.partition("[start:quickstart]")[2].partition("```text\n")[2].partition("```")[0]
    lines = [line.strip() for line in block.splitlines() if not line.startswith("$ ")]
    assert len(lines) > 25
    explained = {line: [row for row in printed_rows() if re.fullmatch(row_pattern(row), line)] for line in lines}
    assert {line: rows for line, rows in explained.items() if len(rows) != 1} == {}


def test_printed_lines_are_explained_in_the_words_of_the_program() -> None:
    """Each part of a row, between its dots and colons, is in one text of the source."""
    texts = [text for module in (ROOT / "src" / "thaw").rglob("*.py") for text in source_texts(module)]
    parts = {part for row in printed_rows() for part in re.split(" · |: ", row) if re.search("[a-z]{2}", part)}
    assert len(parts) > 60
    patterns = {part: ".*".join(map(re.escape, _PLACEHOLDER.split(part)[::2])) for part in parts}
    assert sorted(part for part in parts if not any(re.search(patterns[part], text) for text in texts)) == []


def source_texts(module: Path) -> list[str]:
    """The texts in a module's code, docstrings left out; a gap stands for what an f-string fills in."""
    nodes = list(ast.walk(ast.parse(module.read_text(encoding="utf-8"))))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    joined = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    texts = ["".join(_text(part) for part in node.values) for node in joined]
    return texts + [_text(node) for node in nodes if isinstance(node, ast.Constant) and id(node) not in docstrings]


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else " "


def named_paths(page: Path) -> set[str]:
    """The paths in a page's code: with a folder, or the name of a Python file."""
    codes = re.findall(r"`([^`\s]+)`", page.read_text(encoding="utf-8"))
    paths = {code for code in codes if re.fullmatch(r"[\w./*-]+(/[\w.*-]*|\.py)", code) and "..." not in code}
    return paths - {"export/"}  # a room that is yet to be built


@pytest.mark.parametrize(
    "page",
    [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "contributing").glob("*.md"))],
    ids=lambda page: page.name,
)
def test_the_paths_that_contributors_read_of_exist(page: Path) -> None:
    roots = (ROOT, ROOT / "src", ROOT / "src" / "thaw")
    assert [path for path in sorted(named_paths(page)) if not any(any(root.glob(path)) for root in roots)] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    proxy = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")  # nothing answers there
    built = subprocess.run(command, cwd=ROOT, env={**os.environ, **proxy}, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder


def test_the_site_builds_without_a_network_and_asks_none_for_anything(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\bsrc=\"(https?:[^\"]+)", text)
        loaded += re.findall(r"<link[^>]*\brel=\"(?:stylesheet|icon|preload)\"[^>]*\bhref=\"(https?:[^\"]+)", text)
        assert loaded == [], page


def test_the_reference_has_every_key_and_backbone(site: Path) -> None:
    from thaw.config.schema_keys import dotted_keys
    from thaw.models.backbone_table import BACKBONES

    keys = (site / "reference" / "keys.html").read_text(encoding="utf-8")
    sections = {key.rpartition(".")[0] for key in dotted_keys(Config)}
    missing = [key for key in dotted_keys(Config) if key not in sections and f"<code>{key}</code>" not in keys]
    assert missing == []
    backbones = (site / "reference" / "backbones.html").read_text(encoding="utf-8")
    assert [name for name in BACKBONES if f"<code>{name}</code>" not in backbones] == []


@pytest.mark.slow
def test_the_tutorial_works_as_it_stands(tmp_path: Path) -> None:
    commands = Commands(tmp_path)
    for c, name in enumerate(("daisy", "rose", "tulip")):
        for i in range(30):
            write_image(tmp_path / "photos" / name / f"{i}.jpg", photo(96, 64, 100 * c + i))
    write_image(tmp_path / "new" / "1.jpg", photo(96, 64, 7))
    run_id = ""
    small = ["finetune.head_epochs=1", "finetune.epochs=1", "bottleneck.epochs=2", "backbone.image_size=64"]
    for name, arguments in commands_of(ROOT / "docs" / "tutorial" / "your-photos.md"):
        script = "train.py" if name == "train" else f"scripts/{name}.py"
        given = [argument.replace("RUN_ID", run_id) for argument in arguments]
        ran = commands.run(script, *given, *(small if name == "train" else []))
        assert ran.code == 0, ran.err
        if name == "train" and "-m" not in arguments:
            run_id = ran.result()["run_id"]

"""README and the documentation site: it builds offline, and every command in it is one that thaw understands."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from thaw.__main__ import TOOLS
from thaw.cli.arguments import quote_texts
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

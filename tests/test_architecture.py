"""Who may import what: the walls of the house, read from the source."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "thaw"

# Rooms in the order in which imports may point: a room imports itself and rooms before it.
ALLOWED = {
    "errors": set(),
    "console": set(),
    "csv_text": set(),
    "atomic": set(),
    "environment": {"errors"},
    "backend": {"errors", "environment"},
    "downloads": {"errors", "console"},
    "config": {"errors", "console", "run", "tracking"},  # cli starts the run, and a sweep's parent, late
    "cache": {"atomic", "config", "errors", "console"},
    "data": {"config", "errors", "console", "csv_text", "downloads", "cache"},
    "models": {"config", "errors", "backend", "downloads"},
    "frozen": {"config", "errors", "console", "environment", "backend", "cache", "data", "models"},
    "training": {"atomic", "config", "errors", "console", "backend", "cache", "data", "models", "frozen"},
    "results": {"atomic", "config", "errors", "console", "csv_text"},
    "tracking": {"atomic", "config", "errors", "console", "environment"},
}
ONLY = {
    "hydra": {"config"},
    "omegaconf": {"config"},
    "mlflow": {"tracking"},
    "matplotlib": {"results/report", "results/charts"},
    "openvino": {"frozen/engine"},
    "cleanlab": {"explore/labels"},
    "jinja2": {"explore/page"},
}


def modules() -> list[Path]:
    """Ours; what the benchmark compares with is written as others write it."""
    return sorted(file for file in SRC.rglob("*.py") if "by_hand" not in file.parts)


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def place(file: Path) -> str:
    return file.relative_to(SRC).with_suffix("").as_posix()


@pytest.mark.parametrize("file", modules(), ids=place)
def test_imports_point_one_way(file: Path) -> None:
    room = place(file).split("/")[0]
    if room not in ALLOWED:  # run, predict, explore, ...: the top of the house may import every room
        return
    rooms = {name.split(".")[1] for name in imported(file) if name.startswith("thaw.") and name.count(".") >= 1}
    assert rooms - ALLOWED[room] - {room} == set()


@pytest.mark.parametrize("file", modules(), ids=place)
def test_a_package_is_imported_only_where_it_belongs(file: Path) -> None:
    here = place(file)
    for package, places in ONLY.items():
        if any(name.split(".")[0] == package for name in imported(file)):
            assert here in places or here.split("/")[0] in places, f"{here} imports {package}"


def test_only_the_freeze_plan_sets_trainable() -> None:
    setters = [place(file) for file in modules() if ".trainable = " in file.read_text()]
    assert setters == ["models/freeze"]


def test_only_fit_calls_fit() -> None:
    callers = [place(file) for file in modules() if "model.fit(" in file.read_text()]
    assert callers == ["training/fit"]

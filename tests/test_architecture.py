"""Who may import what: the walls of the house, read from the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"

# Rooms from the ground up: a room imports itself and those below it that are named here, never one above.
ALLOWED = {
    "common": set(),
    "config": {"common"},
    "code_hash": {"config"},
    "cache": {"common", "config"},
    "analysis": {"common"},
    "report": {"common", "analysis"},
    "data": {"common", "config", "cache"},
    "models": {"common", "config"},
    "tracking": {"common", "config"},
    "sweeps": {"common", "config"},
    "frozen": {"common", "config", "cache", "data", "models"},
    "training": {"common", "config", "cache", "data", "models", "frozen"},
    "run_fingerprint": {"common", "config", "code_hash", "models", "tracking", "frozen"},
    "run_context": {"common", "config", "cache", "tracking", "training", "run_fingerprint"},
    "results": {
        "common", "config", "cache", "data", "models", "tracking", "frozen", "training", "run_fingerprint",
        "run_context", "analysis", "report",
    },
    "weights_leakage": {"common", "config", "data", "models", "tracking"},
    "run_data": {
        "common", "config", "cache", "data", "models", "tracking", "training", "run_fingerprint", "run_context",
    },
    "run_training": {
        "common", "config", "data", "models", "tracking", "frozen", "training", "run_fingerprint", "run_context",
    },
    "run": {
        "common", "config", "data", "models", "tracking", "frozen", "training", "results", "weights_leakage",
        "run_fingerprint",
        "run_context", "run_data", "run_training",
    },
    "explore": {"common", "config", "cache", "data", "models", "frozen"},
    "extract": {"common", "config", "cache", "data", "models", "tracking", "frozen", "training", "run_data"},
    "advice": {"common", "config", "data", "models", "frozen", "training", "extract"},
    "reproduce": {"common", "config", "cache", "data", "models", "tracking", "results", "run_fingerprint", "run"},
    "compare": {"common", "config", "data", "models", "tracking", "analysis", "report", "results"},
    "export": {"common", "config", "data", "models", "tracking", "frozen", "analysis", "results"},
    "cli": {
        "common", "config", "code_hash", "data", "tracking", "sweeps", "training", "results", "report", "run_context",
        "run_data", "run", "advice",
    },
    "serve": {"common", "config", "data", "models", "frozen", "results"},
    "tools": {
        "common", "config", "cache", "data", "models", "tracking", "frozen", "training", "results", "run_fingerprint",
        "run", "explore", "extract", "advice", "reproduce", "cli", "analysis", "report", "compare", "serve", "export",
    },
    "api": {
        "common", "config", "cache", "data", "models", "tracking", "results", "explore", "cli", "tools",
    },
    "__init__": {"api", "common", "models", "results"},  # `from thaw import ...`
    "__main__": {"common", "config", "cli", "tools", "__init__"},
}  # fmt: skip
ONLY: dict[str, set[str]] = {
    "hydra": {"cli", "config/yaml_text", "sweeps/space", "sweeps/ray_launch"},
    "optuna": {"sweeps", "cli/study_page"},
    "omegaconf": {"cli", "config/yaml_text", "config/stored_config"},
    "mlflow": {"tracking", "serve/mlflow_model"},  # the latter is what MLflow itself loads
    "matplotlib": set(),
    "openvino": {"frozen/engine", "frozen/openvino_runtime", "export/openvino_format"},
    "onnx": {"export/onnx_format"},
    "onnxruntime": {"export/onnx_format"},
    "ai_edge_litert": {"export/litert_format"},
    "nncf": {"frozen/quantization"},
    "ray": {"extract/ray_workers", "sweeps/ray_launch"},
    "cleanlab": {"explore/label_errors"},
    "jinja2": {"explore/html_page", "report/page_base", "serve/start_page"},
    "altair": {"report"},
    "vl_convert": {"report"},
    "statsmodels": {"analysis"},
    "pyarrow": {"tools", "results"},
    "fastapi": {"serve"},
    "fastapi_offline": {"serve"},
    "starlette": {"serve"},
    "uvicorn": {"serve"},
    "prometheus_client": {"serve"},
}


def modules() -> list[Path]:
    return sorted((SRC / "thaw").rglob("*.py"))


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names.add(ast.unparse(node.args[0]).lstrip("f'\""))
    return names


def place(file: Path) -> str:
    return file.relative_to(SRC / "thaw").with_suffix("").as_posix()


def test_the_rooms_are_listed_from_the_ground_up() -> None:
    order = list(ALLOWED)
    for room, below in ALLOWED.items():
        assert below <= set(order[: order.index(room)]), room
    assert {place(file).split("/")[0] for file in modules()} == set(order)


def drawing() -> str:
    """The map as a Mermaid diagram, without the arrows that others imply."""

    def reaches(room: str, other: str, without: str) -> bool:
        below = ALLOWED[room] - ({without} if room == start else set())
        return other in below or any(reaches(step, other, without) for step in below)

    lines = ["flowchart TD"]
    for start in ALLOWED:
        lines += [f"    {start} --> {other}" for other in sorted(ALLOWED[start]) if not reaches(start, other, other)]
    return "\n".join(lines)


def test_contributing_draws_the_map() -> None:
    assert f"```mermaid\n{drawing()}\n```" in (ROOT / "CONTRIBUTING.md").read_text()
    svg = (ROOT / "docs" / "assets" / "map.svg").read_text()
    assert [room for room in ALLOWED if f">{room}<" not in svg] == []


@pytest.mark.parametrize("file", modules(), ids=place)
def test_imports_point_one_way(file: Path) -> None:
    room = place(file).split("/")[0]
    rooms = {name.split(".")[1] for name in imported(file) if name.split(".")[0] == "thaw" and "." in name}
    assert rooms - ALLOWED[room] - {room} == set()


def test_the_package_does_not_import_what_measures_it() -> None:
    assert [place(file) for file in modules() if any(n.startswith("thaw_lab") for n in imported(file))] == []


def test_no_two_modules_have_one_name() -> None:
    """But a command, which is named after its room and its script."""
    names = [place(file).rpartition("/")[2] for file in modules() if not place(file).endswith("__init__")]
    lab = [f.stem for f in (SRC / "thaw_lab").rglob("*.py") if f.stem != "__init__"]
    names += lab
    assert sorted({name for name in names if names.count(name) > 1}) == []
    rooms = [folder.name for folder in SRC.rglob("*") if folder.is_dir() and folder.name != "__pycache__"]
    tools = {file.stem for file in (SRC / "thaw" / "tools").glob("*.py")}
    assert (set(names) - tools) & set(rooms) - {"thaw"} == set()


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


def test_keras_is_seeded_in_one_place() -> None:
    callers = [place(file) for file in modules() if "set_random_seed(" in file.read_text()]
    assert callers == ["common/tensorflow_setup"]

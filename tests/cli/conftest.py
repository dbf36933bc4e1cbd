"""The one error that train.py, or a tool, ends with after a mistake among its arguments."""

import signal
import sys
from pathlib import Path

import pytest

from thaw.cli import main
from thaw.config import tool_schemas

ROOT = Path(__file__).parent.parent.parent

TOOLS = {
    tool_schemas.LayersConfig: "layers", tool_schemas.CacheToolConfig: "cache", tool_schemas.PredictConfig: "predict",
    tool_schemas.CompareConfig: "compare", tool_schemas.ReproduceConfig: "reproduce",
    tool_schemas.ExploreConfig: "explore",
    tool_schemas.ExtractConfig: "extract",
    tool_schemas.AdviseConfig: "advise",
    tool_schemas.FindRateConfig: "find_rate",
    tool_schemas.FindBatchConfig: "find_batch",
    tool_schemas.EvaluateConfig: "evaluate",
    tool_schemas.ExportConfig: "export",
    tool_schemas.RunsConfig: "runs",
    tool_schemas.ServeConfig: "serve",
    tool_schemas.BenchmarkConfig: "benchmark",
    tool_schemas.FaultsConfig: "faults",
}  # fmt: skip


@pytest.fixture
def error_of(tmp_path, monkeypatch):
    """Return a function that runs train.py, or a tool of this schema, in this process and returns its one error."""
    monkeypatch.setenv("THAW_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def run(arguments: list[str], schema: type | None = None) -> str:
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            main.run_tool(TOOLS[schema], schema, lambda _: None) if schema else main.train_command()
        assert str(ended.value.code).startswith("error: ")
        assert len(str(ended.value.code).splitlines()) == 1
        return str(ended.value.code).removeprefix("error: ")

    return run

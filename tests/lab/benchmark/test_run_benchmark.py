"""What is written, which earlier parts stay, and mistakes in the config."""

import json

import pytest

from thaw.common.errors import UserError
from thaw.config.tool_schemas import BenchmarkConfig
from thaw_lab.benchmark import run_benchmark
from thaw_lab.benchmark.measure import PartRunner
from thaw_lab.benchmark.part_result import BenchmarkRow, PartResult

HERE = {
    "cpu": "a processor", "cpus": 2, "cpu_flags": ["amx_bf16"], "platform": "Linux", "python": "3.11", "settings": {},
    "packages": {"keras": "3.15.1"}, "commit": "0123456789abcdef", "dirty": False, "memory_gb": 8.0, "amx": True,
}  # fmt: skip


def write_growth(folder) -> None:
    """Write the three files with a part `growth` of one row."""
    curves = {"images": {"Keras script": [(250, 9.0), (1000, 30.0)]}, "jobs": {"thaw, one sweep": [(1, 3.0)]}}
    result = PartResult([BenchmarkRow("growth", "a", "s", 30.0, 10.0, 2.0)], "growth: all of it.", curves)
    runner = PartRunner(BenchmarkConfig(), folder, folder, folder / "logs", "growth", [{"what": "a", "seconds": 1.5}])
    content = {"machine": HERE, "parts": {"growth": run_benchmark.part_entry(result, runner)}}
    run_benchmark.write_results(content, folder)


def test_json_markdown_and_plot_are_written_and_read_back(tmp_path) -> None:
    write_growth(tmp_path)
    growth = json.loads((tmp_path / "benchmark.json").read_text())["parts"]["growth"]
    assert set(growth) == {"settings", "rows", "note", "lines", "raw"}
    assert growth["raw"] == [{"what": "a", "seconds": 1.5}]
    assert growth["rows"][0]["ratio"] == 3
    text = (tmp_path / "benchmark.md").read_text()
    assert "| a | 30.0 s | 10.0 s | 3.00x | ≥ 2x | yes |" in text
    assert "keras 3.15.1" in text
    assert "growth: all of it." in text
    assert (tmp_path / "benchmark.png").read_bytes().startswith(b"\x89PNG")


def test_other_parts_stay_only_on_the_same_machine_and_commit(tmp_path) -> None:
    write_growth(tmp_path)
    file = tmp_path / "benchmark.json"
    assert list(run_benchmark.load_earlier(file, HERE)["parts"]) == ["growth"]
    assert run_benchmark.load_earlier(file, HERE | {"commit": "fedc"})["parts"] == {}
    assert run_benchmark.load_earlier(file, HERE | {"dirty": True})["parts"] == {}
    file.write_text("{")
    assert run_benchmark.load_earlier(file, HERE)["parts"] == {}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"backbones": ["resnet5"]}, "backbones=resnet5 is not compared. Did you mean 'resnet50'?"),
        ({"backbones": []}, "leaves nothing to measure"),
        ({"jobs": [0, 5]}, "jobs=0 is out of range"),
        ({"growth": [5]}, "growth=5 is out of range"),
    ],
)
def test_a_mistake_is_found_before_anything_is_measured(wrong, message) -> None:
    with pytest.raises(UserError, match=message):
        run_benchmark.check_benchmark_config(BenchmarkConfig(**wrong))

"""What is written, which earlier parts stay, and mistakes in the config."""

import json

import pytest

from thaw.common.errors import UserError
from thaw.config.tool_schemas import BenchmarkConfig
from thaw_lab.benchmark import run_benchmark
from thaw_lab.benchmark.measure import PartRunner
from thaw_lab.benchmark.part_result import BenchmarkRow, LimitRow, PartResult

HERE = {
    "cpu": "a processor", "cpus": 2, "cpu_flags": ["amx_bf16"], "platform": "Linux", "python": "3.11", "settings": {},
    "packages": {"keras": "3.15.1"}, "commit": "0123456789abcdef", "dirty": False, "memory_gb": 8.0, "amx": True,
}  # fmt: skip


def write_growth(folder) -> None:
    """Write the three files with a part `growth` of one row."""
    curves = {"images": {"Keras script": [(250, 9.0), (1000, 30.0)]}, "jobs": {"thaw, one sweep": [(1, 3.0)]}}
    limit = LimitRow("growth", "a limit", "bfloat16", "GFLOP/s", 400.0, 100.0, 3.0, 0.6)
    row = BenchmarkRow("growth", "a", "s", 30.0, 10.0, 2.0)
    result = PartResult([row], ["growth: all of it.", "growth: all of it."], curves, [limit])
    runner = PartRunner(BenchmarkConfig(), folder, folder, folder / "logs", "growth", [{"what": "a", "seconds": 1.5}])
    content = {"machine": HERE, "parts": {"growth": run_benchmark.part_entry(result, runner)}}
    run_benchmark.write_results(content, folder)


def test_json_markdown_and_plot_are_written_and_read_back(tmp_path) -> None:
    write_growth(tmp_path)
    growth = json.loads((tmp_path / "benchmark.json").read_text())["parts"]["growth"]
    assert set(growth) == {"settings", "rows", "limits", "notes", "lines", "raw"}
    assert growth["raw"] == [{"what": "a", "seconds": 1.5}]
    assert growth["rows"][0]["ratio"] == 3
    assert growth["limits"][0]["share"] == 0.75
    text = (tmp_path / "benchmark.md").read_text()
    assert "| a | Keras float32 | 30.0 s | 10.0 s | 3.00x | ≥ 2x | yes |" in text
    assert "| a limit | bfloat16 | 400 GFLOP/s | 100 images/s | 3.00 | 300 GFLOP/s | 75% | ≥ 60% | yes |" in text
    assert text.index("## Limits") < text.index("## Ratios")
    assert "keras 3.15.1" in text
    assert text.count("growth: all of it.") == 1
    assert (tmp_path / "benchmark.png").read_bytes().startswith(b"\x89PNG")


def test_other_parts_stay_only_on_the_same_machine_and_commit(tmp_path) -> None:
    write_growth(tmp_path)
    file = tmp_path / "benchmark.json"
    assert list(run_benchmark.load_earlier(file, HERE)["parts"]) == ["growth"]
    assert run_benchmark.load_earlier(file, HERE | {"commit": "fedc"})["parts"] == {}
    assert run_benchmark.load_earlier(file, HERE | {"dirty": True})["parts"] == {}
    file.write_text("{")
    assert run_benchmark.load_earlier(file, HERE)["parts"] == {}


def test_parts_are_written_in_their_order_and_a_network_replaces_only_its_own_rows(tmp_path) -> None:
    content: dict = {"machine": HERE, "parts": {}}

    def measure(entry: str, speed: float) -> None:
        runner = PartRunner(BenchmarkConfig(), tmp_path, tmp_path, tmp_path / "logs", entry)
        row = BenchmarkRow("step", f"row of {entry}", "images/s", 10.0, speed)
        content["parts"][entry] = run_benchmark.part_entry(PartResult([row], ["a note"]), runner)
        run_benchmark.write_results(content, tmp_path)

    for entry in ("growth", "step vgg16", "step inceptionv3", "chip"):
        measure(entry, 20.0)
    measure("step vgg16", 30.0)
    parts = json.loads((tmp_path / "benchmark.json").read_text())["parts"]
    assert list(parts) == ["chip", "step inceptionv3", "step vgg16", "growth"]
    assert [parts[f"step {name}"]["rows"][0]["thaw"] for name in ("inceptionv3", "vgg16")] == [20.0, 30.0]


def test_all_parts_of_the_config_are_measured_in_order() -> None:
    everything = run_benchmark.chosen_parts(BenchmarkConfig(backbones=["vgg16", "resnet50"]))
    by_part = list(dict.fromkeys(entry.split()[0] for entry in everything))
    choices = BenchmarkConfig.__dataclass_fields__["what"].metadata["choices"]
    assert ("all", *by_part) == choices
    assert [entry for entry in everything if entry.startswith("step")] == ["step vgg16", "step resnet50"]
    assert list(run_benchmark.chosen_parts(BenchmarkConfig(what="first"))) == ["first"]


def test_one_epoch_is_enough_where_the_first_is_not_left_out() -> None:
    run_benchmark.check_benchmark_config(BenchmarkConfig(what="stages", epochs=1))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"backbones": ["resnet5"]}, "backbones=resnet5 is not compared. Did you mean 'resnet50'?"),
        ({"backbones": []}, "leaves nothing to measure"),
        ({"jobs": [0, 5]}, "jobs=0 is out of range"),
        ({"growth": [5]}, "growth=5 is out of range"),
        ({"what": "step", "epochs": 1}, "epochs=1 leaves step nothing to measure"),
        ({"step_images": 40}, "step_images=40 is no multiple of the batches of 32"),
        ({"baseline": "/no/such/folder"}, "baseline=/no/such/folder is no checkout of thaw"),
        ({"pytorch": "/no/such/python"}, "pytorch=/no/such/python does not import torch and torchvision"),
    ],
)
def test_a_mistake_is_found_before_anything_is_measured(wrong, message) -> None:
    with pytest.raises(UserError, match=message):
        run_benchmark.check_benchmark_config(BenchmarkConfig(**wrong))


def test_other_programs_are_named_from_where_the_command_was_given(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = run_benchmark.with_absolute_programs(BenchmarkConfig(baseline="before", pytorch="env/bin/python"))
    assert (config.baseline, config.pytorch) == (str(tmp_path / "before"), str(tmp_path / "env/bin/python"))
    named = run_benchmark.with_absolute_programs(BenchmarkConfig(pytorch="python3"))
    assert (named.baseline, named.pytorch) == (None, "python3"), "a bare name is looked up on PATH"


def test_a_program_that_fails_without_a_word_is_no_pytorch() -> None:
    with pytest.raises(UserError, match="exit code 1"):
        run_benchmark.check_benchmark_config(BenchmarkConfig(pytorch="/bin/false"))

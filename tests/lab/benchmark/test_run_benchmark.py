"""What is written, what stays from before, and mistakes."""

import json
import sys

import pytest

from thaw.common.errors import UserError
from thaw.config.tool_schemas import BenchmarkConfig
from thaw_lab import machine
from thaw_lab.benchmark import run_benchmark
from thaw_lab.benchmark.measure import Measurement, PartRunner, median_figure, run_alternating
from thaw_lab.benchmark.outcome import PartResult
from thaw_lab.tables import BenchmarkRow

HERE = {
    "cpu": "a processor", "cpus": 2, "cpu_flags": ["amx_bf16"], "platform": "Linux", "python": "3.11", "settings": {},
    "packages": {"keras": "3.15.1"}, "commit": "0123456789abcdef", "dirty": False, "memory_gb": 8.0, "amx": True,
}  # fmt: skip


def bench(folder, part="growth") -> PartRunner:
    return PartRunner(
        BenchmarkConfig(), folder, folder, folder / "logs", part, measurements=[{"what": "a", "seconds": 1.5}]
    )


def outcome() -> PartResult:
    lines = {"images": {"Keras script": [(250, 9.0), (1000, 30.0)]}, "jobs": {"thaw, one sweep": [(1, 3.0)]}}
    return PartResult([BenchmarkRow("growth", "a", "s", 30.0, 10.0, 2.0)], "growth: all of it.", lines)


def test_json_markdown_and_plot_are_written_and_read_back(tmp_path) -> None:
    run_benchmark.write_results(
        {"machine": HERE, "parts": {"growth": run_benchmark.part_entry(outcome(), bench(tmp_path))}}, tmp_path
    )
    found = json.loads((tmp_path / "benchmark.json").read_text())
    assert found["parts"]["growth"]["raw"] == [{"what": "a", "seconds": 1.5}]
    assert found["parts"]["growth"]["rows"][0]["ratio"] == 3
    text = (tmp_path / "benchmark.md").read_text()
    assert "| a | 30.0 s | 10.0 s | 3.00x | ≥ 2x | yes |" in text
    assert "keras 3.15.1" in text
    assert "growth: all of it." in text
    assert (tmp_path / "benchmark.png").read_bytes().startswith(b"\x89PNG")


def test_other_parts_stay_only_on_the_same_machine_and_commit(tmp_path) -> None:
    run_benchmark.write_results(
        {"machine": HERE, "parts": {"growth": run_benchmark.part_entry(outcome(), bench(tmp_path))}}, tmp_path
    )
    file = tmp_path / "benchmark.json"
    assert list(run_benchmark.load_earlier(file, HERE)["parts"]) == ["growth"]
    assert run_benchmark.load_earlier(file, HERE | {"commit": "fedc"})["parts"] == {}
    assert run_benchmark.load_earlier(file, HERE | {"dirty": True})["parts"] == {}
    file.write_text("{")
    assert run_benchmark.load_earlier(file, HERE)["parts"] == {}


def test_the_caption_says_whether_the_machine_is_the_targets() -> None:
    assert "AMX, 8.0 GB" in machine.caption(HERE)
    assert "which this is not" not in machine.caption(HERE)
    other = machine.caption(HERE | {"amx": False, "cpu_flags": ["avx512_bf16"]})
    assert "no AMX (AVX-512 bf16)" in other
    assert other.endswith("which this is not.")


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
        run_benchmark.check_config(BenchmarkConfig(**wrong))


def test_sides_take_turns() -> None:
    order: list[str] = []

    def side(name: str):
        def run(repeat: int) -> Measurement:
            order.append(f"{name}{repeat}")
            return Measurement({"seconds": float(repeat)}, 0.0, 0.0)

        return run

    found = run_alternating(3, {"Keras": side("k"), "thaw": side("t")})
    assert order == ["k0", "t0", "k1", "t1", "k2", "t2"]
    assert median_figure(found["thaw"], lambda ran: ran.seconds) == 1.0


def test_a_piece_that_fails_is_named_with_the_end_of_its_output(tmp_path) -> None:
    with pytest.raises(UserError, match=r"(?s)growth: a job with Keras ended with exit code 1\..*no_such_module"):
        bench(tmp_path).run_module("a job", "Keras", "keras_scripts.no_such_module")


@pytest.mark.skipif(sys.platform == "win32", reason="no resource usage of children")
def test_a_process_and_its_peak_memory_are_measured(tmp_path, monkeypatch) -> None:
    (tmp_path / "src" / "thaw_lab" / "benchmark").mkdir(parents=True)
    code = "import json, sys; data = bytearray(200_000_000); json.dump({'seconds': 2.0}, open(sys.argv[-1], 'w'))"
    for package in ("thaw_lab", "thaw_lab/benchmark"):
        (tmp_path / "src" / package / "__init__.py").touch()
    (tmp_path / "src" / "thaw_lab" / "benchmark" / "piece.py").write_text(code)
    own = bench(tmp_path)
    ran = own.run_module("a piece", "Keras", "piece")
    assert ran.seconds == 2.0
    # No upper bound: Linux counts what the parent held when it forked, and here that may be a process with TensorFlow.
    assert ran.peak_mb > 200
    assert own.measurements[-1]["peak_mb"] == ran.peak_mb

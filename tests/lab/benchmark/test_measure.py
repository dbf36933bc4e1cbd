"""Pieces in processes of their own, measured in turn."""

import sys

import pytest

from thaw.common.errors import UserError
from thaw.config.tool_schemas import BenchmarkConfig
from thaw_lab.benchmark.measure import Measurement, PartRunner, median_figure, run_alternating


def runner(folder) -> PartRunner:
    return PartRunner(BenchmarkConfig(), folder, folder, folder / "logs", "growth")


def test_sides_take_turns() -> None:
    order: list[str] = []

    def side(name: str):
        def run(repeat: int) -> Measurement:
            order.append(f"{name}{repeat}")
            return Measurement({"seconds": float(repeat)}, 0.0, 0.0)

        return run

    sides = run_alternating(3, {"Keras": side("k"), "thaw": side("t")})
    assert order == ["k0", "t0", "k1", "t1", "k2", "t2"]
    assert median_figure(sides["thaw"], lambda measured: measured.seconds) == 1.0


def test_a_piece_that_fails_is_named_with_the_end_of_its_output(tmp_path) -> None:
    with pytest.raises(UserError, match=r"(?s)growth: a job with Keras ended with exit code 1\..*no_such_module"):
        runner(tmp_path).run_module("a job", "Keras", "keras_scripts.no_such_module")


@pytest.mark.skipif(sys.platform == "win32", reason="no resource usage of children")
def test_a_process_and_its_peak_memory_are_measured(tmp_path, monkeypatch) -> None:
    (tmp_path / "src" / "thaw_lab" / "benchmark").mkdir(parents=True)
    code = "import json, sys; data = bytearray(200_000_000); json.dump({'seconds': 2.0}, open(sys.argv[-1], 'w'))"
    for package in ("thaw_lab", "thaw_lab/benchmark"):
        (tmp_path / "src" / package / "__init__.py").touch()
    (tmp_path / "src" / "thaw_lab" / "benchmark" / "piece.py").write_text(code)
    part = runner(tmp_path)
    measured = part.run_module("a piece", "Keras", "piece")
    assert measured.seconds == 2.0
    # No upper bound: Linux counts what the parent held when it forked, and here that may be a process with TensorFlow.
    assert measured.peak_mb > 200
    assert part.measurements[-1]["peak_mb"] == measured.peak_mb

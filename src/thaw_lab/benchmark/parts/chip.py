"""Part `chip`: the chip's limits. Parts that state shares measure them in turn with what they measure."""

from functools import partial
from statistics import median
from typing import Literal

from thaw_lab.benchmark import chip_limits
from thaw_lab.benchmark.measure import Measurement, PartRunner, run_alternating
from thaw_lab.benchmark.part_result import LimitRow, PartResult

NAMES = {"openvino": "OpenVINO product", "tensorflow": "TensorFlow product", "memory": "memory copy"}
NOTE = (
    "limits: the best of {repeats} products of square matrices at each of {sizes}, median over the processes. "
    "{sources}; int8: both factors quantized. Memory: copies of {copy} MB, bytes read and written."
)


def chip(runner: PartRunner) -> PartResult:
    """Measure what the chip does at most, in every precision of the libraries, and how fast memory is copied."""
    rows: list[LimitRow] = []
    sides = {library: partial(run_limits, runner, library, "limits") for library in NAMES}
    for library, repeats in run_alternating(runner.config.repeats, sides).items():
        for precision, limit in median_limits(repeats).items():
            unit: Literal["GFLOP/s", "GB/s"] = "GB/s" if library == "memory" else "GFLOP/s"
            rows.append(LimitRow(runner.part, f"chip: {NAMES[library]}", precision, unit, limit))
    return PartResult([], [limits_note()], limits=rows)


def run_limits(runner: PartRunner, library: str, what: str, _repeat: int = 0) -> Measurement:
    """Measure one library's limits."""
    return runner.run_module(what, NAMES[library], "chip_limits", "--library", library)


def median_limits(repeats: list[Measurement]) -> dict[str, float]:
    """Return the limit of each precision, the median over processes."""
    return {
        precision: median(one.report["limits"][precision] for one in repeats)
        for precision in repeats[0].report["limits"]
    }


def limits_note() -> str:
    """Return how limits are measured."""
    return NOTE.format(
        repeats=chip_limits.REPEATS,
        sizes=", ".join(map(str, chip_limits.SIZES)),
        sources="; ".join(chip_limits.SOURCES.values()),
        copy=chip_limits.COPY_BYTES // 10**6,
    )

"""The parts of the benchmark by name, in the order in which they are measured."""

from collections.abc import Callable

from thaw_lab.benchmark.measure import PartRunner
from thaw_lab.benchmark.outcome import PartResult
from thaw_lab.benchmark.parts import bottleneck, determinism, extraction, growth, scratch, two_stages

PARTS: dict[str, Callable[[PartRunner], PartResult]] = {
    "extract": extraction.extract,
    "jpeg": extraction.jpeg,
    "stages": two_stages.stages,
    "rerun": bottleneck.rerun,
    "sweep": bottleneck.sweep,
    "scratch": scratch.scratch,
    "determinism": determinism.determinism,
    "growth": growth.growth,
}

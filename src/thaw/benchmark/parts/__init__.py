"""The parts of the benchmark by name, in the order in which they are measured."""

from collections.abc import Callable

from thaw.benchmark.measure import Bench
from thaw.benchmark.outcome import Outcome
from thaw.benchmark.parts import bottleneck, determinism, forward, growth, scratch, staged

PARTS: dict[str, Callable[[Bench], Outcome]] = {
    "extract": forward.extract,
    "jpeg": forward.jpeg,
    "stages": staged.stages,
    "rerun": bottleneck.rerun,
    "sweep": bottleneck.sweep,
    "scratch": scratch.scratch,
    "determinism": determinism.determinism,
    "growth": growth.growth,
}

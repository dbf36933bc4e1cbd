"""result.json: the outcome of a run, for scripts to read. Keys are only ever added."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from thaw.common.files import write_json

OBJECTIVE = "val/accuracy"  # what a sweep compares


@dataclass(frozen=True)
class Objective:
    """The metric that a sweep compares, and its value."""

    name: str
    value: float


@dataclass(frozen=True)
class RunResult:
    """The outcome of a run; its fields are the keys of result.json.

    metrics: flat, `val/accuracy`, `test/loss`, ... stages: `name, epochs, seconds, learning_rate, frozen_layers,
    trainable_params, boundary, cut, kept` each; cut: how many layers ran on the engine; kept: whether the network has
    what the stage trained. seconds: `total`, `scan`, `extract`,
    `train`, `evaluate`, `report`. cache: `hits`, `misses` (activations), `bytes`. engine: `engine`, `version`, the
    precisions `frozen` and `trained`, `device`, `tf32`, `draft`.
    parity: `passed`, the fields of `Parity`, and `judged_with`, as `engine`: what computed the metrics, which is Keras
    in float32 if it was not passed, but for int8, whose quantised part is kept.
    weights_sha256: of the final weights, in layer order; graph_sha256: of what the network computes with them.
    model: path of the saved network, None without one.
    quantization: empty unless frozen layers are in int8; `calibration_sha256`, `calibration_images`, `nncf`, `accuracy`
    (the fields of `PrecisionComparison`; not of drafts), and with a kept network `file` and `sha256` of the quantised
    part.
    auto: of recipe=auto what was measured and chosen, as `auto.json`; empty otherwise.
    calibration: `temperature` (None if none could be fitted), `fitted_on`, `images`, and `ece`, `brier`, `nll` of
    `test` and of `test_calibrated`. verdict: the report's first lines. report: path of its page, None without one.
    """

    run_id: str
    objective: Objective
    metrics: Mapping[str, float]
    stages: Sequence[Mapping[str, Any]]
    seconds: Mapping[str, float]
    images_per_second: Mapping[str, float]
    weights_sha256: str
    config_sha256: str
    data_sha256: str
    model: str | None
    class_names: Sequence[str]
    engine: Mapping[str, Any] = field(default_factory=dict)
    parity: Mapping[str, Any] = field(default_factory=dict)
    graph_sha256: str | None = None
    quantization: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    verdict: Sequence[str] = ()
    report: str | None = None
    auto: Mapping[str, Any] = field(default_factory=dict)
    cache: Mapping[str, int] = field(default_factory=lambda: {"hits": 0, "misses": 0, "bytes": 0})


def write_result(result: RunResult, path: Path) -> None:
    """Write `result` as JSON, whole or not at all; NaN and infinity become null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(asdict(result), path)

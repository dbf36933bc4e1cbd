import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thaw.results.result import Objective, RunResult, write_result

RESULT = RunResult(
    run_id="abc",
    objective=Objective("val/accuracy", np.float32(0.5)),
    metrics={"val/accuracy": np.float64(0.5), "test/class/fox/recall": float("nan"), "test/loss": np.inf},
    stages=({"name": "head", "epochs": np.int64(3), "learning_rate": 1e-3, "boundary": None},),
    seconds={"total": 12.5},
    images_per_second={"train": 100.0},
    weights_sha256="w",
    config_sha256="c",
    data_sha256="d",
    model=None,
    class_names=np.array(["cat", "füchse"]),
)


def test_result_has_the_keys_that_scripts_rely_on(tmp_path):
    write_result(RESULT, tmp_path / "run" / "result.json")
    written = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert set(written) == {
        "run_id", "objective", "metrics", "stages", "seconds", "images_per_second", "cache", "engine", "graph_sha256",
        "parity", "quantization", "calibration", "verdict", "report", "auto",
        "weights_sha256", "config_sha256", "data_sha256", "model", "class_names",
    }  # fmt: skip
    assert written["objective"] == {"name": "val/accuracy", "value": 0.5}
    assert written["stages"] == [{"name": "head", "epochs": 3, "learning_rate": 1e-3, "boundary": None}]
    assert written["cache"] == {"hits": 0, "misses": 0, "bytes": 0}
    assert written["class_names"] == ["cat", "füchse"]


def test_what_is_no_number_becomes_null(tmp_path):
    write_result(RESULT, tmp_path / "result.json")
    metrics = json.loads((tmp_path / "result.json").read_text(), parse_constant=pytest.fail)["metrics"]
    assert metrics == {"val/accuracy": 0.5, "test/class/fox/recall": None, "test/loss": None}


def test_a_write_that_is_cut_off_leaves_the_old_result(tmp_path, monkeypatch):
    def cut_off(*_):
        raise KeyboardInterrupt

    write_result(RESULT, tmp_path / "result.json")
    monkeypatch.setattr(Path, "replace", cut_off)
    with pytest.raises(KeyboardInterrupt):
        write_result(replace(RESULT, run_id="new"), tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text())["run_id"] == "abc"


def test_a_class_name_that_is_no_utf8_is_written(tmp_path):
    write_result(replace(RESULT, class_names=[os.fsdecode(b"caf\xe9")]), tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text())["class_names"] == [os.fsdecode(b"caf\xe9")]

"""The part `step`: its rows, and a small real run of thaw's side and the script's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import thaw
from thaw_lab.benchmark.keras_scripts import keras_networks
from thaw_lab.benchmark.measure import Measurement
from thaw_lab.benchmark.parts import training_step

ROOT = Path(thaw.__file__).parents[2]


def speeds(*values: float, **report: object) -> list[Measurement]:
    return [Measurement({"images_per_second": value, **report}, 0.0, 0.0) for value in values]


def test_thaw_is_held_against_every_other_side_and_its_target_is_by_the_commit_before() -> None:
    measured = {
        "Keras float32": speeds(40.0, 50.0, 45.0),
        "thaw": speeds(90.0, 80.0, 85.0, precision="bfloat16", depthwise="float32"),
        "before": speeds(40.0, 41.0, 42.0),
        "PyTorch step": speeds(50.0),
        "limits": [Measurement({"limits": {"bfloat16": 400.0}}, 0.0, 0.0)],
    }
    rows = training_step.step_rows("step", "efficientnet_lite0", measured)
    assert {row.what for row in rows} == {"step: efficientnet_lite0, freeze=block3b, bfloat16 (depthwise float32)"}
    assert [(row.against, row.other, row.thaw, row.target) for row in rows] == [
        ("Keras float32", 45.0, 85.0, None),
        ("thaw before", 41.0, 85.0, 1.8),
        ("PyTorch bfloat16", 50.0, 85.0, None),
    ]


def test_every_network_has_a_boundary() -> None:
    assert set(training_step.FREEZES) == set(training_step.BEFORE_TARGETS) == set(keras_networks.NAMES)


def run(folder: Path, module: str, *arguments: str) -> dict:
    report = folder / "report.json"
    command = [sys.executable, "-m", f"thaw_lab.benchmark.{module}", *arguments, "--json", str(report)]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True, timeout=600)
    return json.loads(report.read_text())


@pytest.mark.slow
def test_both_sides_train_the_same_layers(tmp_path) -> None:
    freeze, script_freeze = training_step.FREEZES["mobilenetv2"]
    common = ("--network", "mobilenetv2", "--size", "75", "--images", "32", "--epochs", "2")
    mine = run(tmp_path, "thaw_scripts.thaw_step", "--thaw", str(ROOT), "--freeze", freeze, *common)
    by_hand = run(tmp_path, "keras_scripts.keras_step", "--freeze", script_freeze, *common)
    assert mine["frozen_layers"] == by_hand["frozen_layers"] == 100
    assert mine["cut_tensors"] == by_hand["cut_tensors"] == 2
    assert mine["trained_weights"] == by_hand["trained_weights"]
    assert Path(mine["thaw"]) == ROOT / "src" / "thaw"
    assert mine["training_step"] == "folded"  # what a run's training_step=auto is on a CPU
    assert mine["images_per_second"] > 0
    assert by_hand["images_per_second"] > 0

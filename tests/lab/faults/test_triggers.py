"""Where kills fall, and that enough of them are aimed."""

from pathlib import Path

from thaw.config.tool_schemas import FaultsConfig
from thaw_lab.faults.kill_trials import plan_triggers
from thaw_lab.faults.snapshots import RunSnapshot
from thaw_lab.faults.triggers import BEFORE, EVALUATION, HEAD, RESULT, THAW, training_phase
from thaw_lab.faults.workspace import BaselineRun, Workspace
from thaw_lab.process import ProcessGroup

LINES = {
    "run 1234 · finetune · outputs/runs/a": BEFORE,
    "stage head: frozen 150/150": BEFORE,
    "stage thaw: frozen 129/150": BEFORE,
    "stage head · rmsprop 0.001": HEAD,
    "  proved: layers[:150]": HEAD,
    "stage thaw · adamw 0.0006": THAW,
    "  thaw epoch 7 · loss 2.2": THAW,
    "  proved: layers[:129]": EVALUATION,
    "parity: 320 of 320": EVALUATION,
    "result outputs/result.json": RESULT,
}


def test_the_phase_is_read_from_the_lines() -> None:
    lines = list(LINES)
    assert [training_phase(lines[: i + 1]) for i in range(len(lines))] == list(LINES.values())


def test_of_100_kills_ten_are_aimed_at_writes_and_ten_at_evaluation() -> None:
    workspace = Workspace(FaultsConfig(), Path(), Path(), Path(), Path(), ProcessGroup())
    workspace.baselines.append(BaselineRun(RunSnapshot("", "", [], {}, {}, [], [], [], []), 20.0, 5.0))
    plans = [[trigger.description for trigger in plan_triggers(workspace, number, 0)] for number in range(100)]
    assert sum("checkpoint's write" in triggers[0] for triggers in plans) >= 10
    assert sum("into the evaluation" in triggers[0] for triggers in plans) >= 10
    assert sum(len(triggers) == 2 for triggers in plans) >= 20
    assert plans == [[trigger.description for trigger in plan_triggers(workspace, number, 0)] for number in range(100)]
    assert plans[3] != [trigger.description for trigger in plan_triggers(workspace, 3, 1)]

"""Nothing that a fault changed goes unseen."""

from dataclasses import replace

import pytest

from thaw_lab.faults.snapshots import RunSnapshot, differences

EXPECTED = RunSnapshot(
    status="FINISHED",
    weights_sha256="ab" * 32,
    history=[{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": float("nan")}],
    metrics={"test/accuracy": 0.75},
    metric_history={"epoch/loss": [(1, 0.5), (2, 0.25)], "epoch/images_per_second": [(1, 10.0), (2, 11.0)]},
    model_statuses=["READY"],
    open_runs=[],
    run_files=["result.json"],
    outputs_files=["mlflow.db"],
    head_alone="ef" * 32,
)


def test_the_same_but_for_speed_is_the_same() -> None:
    faster = {**EXPECTED.metric_history, "epoch/images_per_second": [(1, 99.0), (2, 98.0)]}
    assert differences(replace(EXPECTED, metric_history=faster), EXPECTED) == []


def test_the_store_may_be_elsewhere() -> None:
    assert differences(replace(EXPECTED, outputs_files=[]), EXPECTED) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"status": "RUNNING"}, "the run is RUNNING"),
        ({"weights_sha256": "cd" * 32}, "weights_sha256 differs"),
        ({"head_alone": "01" * 32}, "head_alone differs"),
        ({"history": [EXPECTED.history[0], {"epoch": 2, "loss": 0.3}]}, "history differs from epoch 2 on"),
        ({"history": EXPECTED.history[:1]}, "history differs: 1 epochs, not 2"),
        ({"metrics": {"test/accuracy": 0.75000001}}, "metrics differs"),
        (
            {"metric_history": {**EXPECTED.metric_history, "epoch/loss": [(1, 0.5), (1, 0.5), (2, 0.25)]}},
            "steps 1 (2 times), 2",
        ),
        ({"metric_history": {**EXPECTED.metric_history, "epoch/loss": [(1, 0.5)]}}, "epoch/loss has points at steps 1"),
        (
            {"metric_history": {**EXPECTED.metric_history, "epoch/loss": [(1, 0.5), (2, 0.26)]}},
            "epoch/loss differs in the store",
        ),
        (
            {"metric_history": {"epoch/loss": EXPECTED.metric_history["epoch/loss"]}},
            "images_per_second has points at steps none",
        ),
        ({"model_statuses": []}, "logged models: none"),
        ({"model_statuses": ["READY", "PENDING"]}, "logged models: PENDING, READY"),
        ({"open_runs": ["1234 RUNNING"]}, "another run is open: 1234 RUNNING"),
        ({"run_files": ["result.json", "checkpoints/a.npz.tmp"]}, "left behind: checkpoints/a.npz.tmp"),
        ({"run_files": []}, "missing: result.json"),
        ({"outputs_files": ["mlflow.db", ".model-1234"]}, "left behind in outputs: .model-1234"),
    ],
)
def test_every_difference_is_named(changed, said) -> None:
    (line,) = differences(replace(EXPECTED, **changed), EXPECTED)
    assert said in line

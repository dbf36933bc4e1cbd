"""What makes two commands the same sweep, and what a plan says of its jobs."""

from pathlib import Path

import hydra
import pytest

from thaw.cli import sweep_request
from thaw.cli.argument_quoting import quote_texts
from thaw.cli.compose import initialized_hydra, job_config, register_schema, to_config
from thaw.config.schema import Config
from thaw.sweeps.plan import SweepPlan


@pytest.fixture(autouse=True)
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THAW_OUTPUTS", str(tmp_path))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"picture")


def plan_of(*arguments: str) -> SweepPlan:
    register_schema("config", Config)
    quoted = quote_texts(list(arguments), Config)
    fixed = [a for a in quoted if "," not in a.partition("=")[2] or a.startswith("sweep.space")]
    with initialized_hydra():
        composed = hydra.compose("config", fixed, return_hydra_config=True)
        composed.hydra.sweep.dir = "sweeps"
        with job_config(composed) as cfg:
            checked: Config = to_config(cfg, Config)
        composed.hydra.overrides.hydra = []
    return sweep_request.requested_plan(composed, checked, quoted)


@pytest.mark.parametrize(
    ("arguments", "epochs"),
    [
        (("recipe=bottleneck", "bottleneck.epochs=7", "seed=0,1"), 7),
        (("recipe=bottleneck", "bottleneck.epochs=5,20,10"), 20),
        (("recipe=bottleneck", "sweep=random", "sweep.space={bottleneck.epochs: uniform(3,12)}"), 12),
        (("recipe=bottleneck,finetune", "bottleneck.epochs=9", "finetune.head_epochs=1", "finetune.epochs=2"), 9),
        (("recipe=finetune", "finetune.head_epochs=1,2", "finetune.epochs=2,4"), 6),
    ],
)
def test_a_plan_knows_the_most_epochs_that_any_job_trains(arguments: tuple[str, ...], epochs: int) -> None:
    assert plan_of(*arguments).epochs == epochs


@pytest.mark.parametrize("swept", [False, True])
def test_a_file_of_any_data_set_of_the_jobs_makes_another_sweep(tmp_path: Path, swept: bool) -> None:
    path = f"dataset.path={tmp_path}/a" + (f",{tmp_path}/b" if swept else "")
    before = plan_of("dataset=image_folder", path, "seed=0,1").digest
    assert plan_of("dataset=image_folder", path, "seed=0,1").digest == before
    (tmp_path / "b" / "2.png").write_bytes(b"picture")
    assert (plan_of("dataset=image_folder", path, "seed=0,1").digest != before) is swept
    (tmp_path / "a" / "2.png").write_bytes(b"picture")
    assert plan_of("dataset=image_folder", path, "seed=0,1").digest != before


def test_another_setting_makes_another_sweep_and_the_number_of_trials_does_not() -> None:
    drawn = ("sweep=random", "sweep.space={head.dropout: uniform(0,0.5)}")
    digest = plan_of(*drawn).digest
    assert plan_of(*drawn, "sweep.trials=50", "sweep.workers=2").digest == digest
    assert plan_of(*drawn, "head.hidden=64").digest != digest
    assert plan_of("sweep=tpe", drawn[1]).digest != digest

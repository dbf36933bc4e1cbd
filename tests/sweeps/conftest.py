"""A plan, a ledger and a worker, without a run behind them."""

from dataclasses import replace
from pathlib import Path

import pytest

from thaw.sweeps.ledger import Ledger
from thaw.sweeps.plan import SweepPlan
from thaw.sweeps.space import parse_space

PLAN = SweepPlan(
    name="sweep digits", arguments=("dataset=digits",), hydra_arguments=(), parameters=(), sampler="random", trials=6,
    pruner="none", pruner_warmup=1, objectives=(("objective", "maximize"),), seed=0, retries=1, reuse=True, epochs=8,
    folder="sweep", cwd=".", tracking_uri="sqlite:///mlflow.db", outputs="outputs", parent_run_id="parent",
)  # fmt: skip
GRID = "{optimizer.learning_rate: [1e-3,1e-2], finetune.freeze: [block3b,all]}"
INTERVALS = "{optimizer.learning_rate: log(1e-5,1e-2), head.dropout: uniform(0,0.5)}"


@pytest.fixture
def make_ledger(tmp_path: Path):
    """Makes a ledger in a SQLite file: `make_ledger(space, sampler="tpe")`; the other keys are those of SweepPlan."""

    def make(space: str, name: str = "study", **changes) -> Ledger:
        plan = replace(PLAN, parameters=tuple(parse_space(space)), **changes)
        return Ledger.create(f"sqlite:///{tmp_path}/sweeps.db", name, plan)

    return make

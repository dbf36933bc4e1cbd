"""optimizer.learning_rate=auto: a stage trains with the rate that its range test found, as if it had been given."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.dying import Killed, die_after
from tests.training.test_stages import data, losses, run  # noqa: F401
from thaw.config.schema import OptimizerConfig
from thaw.models import freeze_proof
from thaw.training.stage_result import StageResult

STAGE = {"request": "conv_pw_11_relu", "epochs": 2}


def optimizer(rate: float | str) -> OptimizerConfig:
    return OptimizerConfig(name="sgd", momentum=0.9, schedule="cosine", learning_rate=rate)


@pytest.fixture(scope="module")
def found(data, tmp_path_factory):  # noqa: F811
    return run(data, tmp_path_factory.mktemp("found"), optimizer=optimizer("auto"), **STAGE)


def hashes(network) -> dict:
    return freeze_proof.weight_hashes(network.model.layers)


def test_it_trains_as_with_the_rate_given(data, tmp_path: Path, found) -> None:  # noqa: F811
    """The test leaves neither weights nor random numbers behind."""
    network, result, _ = found
    rate = result.stage.optimizer.learning_rate
    assert isinstance(rate, float)
    assert result.stage.rate_found
    assert result.fit.history[0]["learning_rate"] == pytest.approx(rate, rel=0.5), "of the first epoch's last step"
    given, same, _ = run(data, tmp_path, optimizer=optimizer(rate), **STAGE)
    assert not same.stage.rate_found
    assert losses(same) == losses(result)
    assert hashes(given) == hashes(network)


def test_a_finished_stage_of_a_resumed_run_has_its_rate(found) -> None:
    _, result, _ = found
    stage = replace(result.stage, optimizer=optimizer("auto"), rate_found=False)
    unresolved = replace(result.planned, stage=stage)
    again = StageResult.from_state(unresolved, result.to_state())
    assert again.stage.optimizer.learning_rate == result.stage.optimizer.learning_rate


@pytest.mark.parametrize("moment", [1, 2], ids=["right behind the test", "after an epoch"])
def test_a_resumed_stage_ends_the_same_and_does_not_test_again(
    data, tmp_path: Path, found, monkeypatch: pytest.MonkeyPatch, moment: int  # noqa: F811
) -> None:  # fmt: skip
    from thaw.training import stages

    die_after(moment, monkeypatch)
    with pytest.raises(Killed):
        run(data, tmp_path, optimizer=optimizer("auto"), **STAGE)

    def tested_again(*_) -> None:
        raise AssertionError

    monkeypatch.setattr(stages, "run_range_test", tested_again)
    network, result, _ = run(data, tmp_path, optimizer=optimizer("auto"), **STAGE)
    assert losses(result) == losses(found[1])
    assert hashes(network) == hashes(found[0])
    assert result.stage.optimizer.learning_rate == found[1].stage.optimizer.learning_rate


def test_each_block_has_its_part_of_the_found_rate(data, tmp_path: Path, capsys) -> None:  # noqa: F811
    _, result, _ = run(data, tmp_path, optimizer=replace(optimizer("auto"), layer_decay=0.5), **STAGE)
    rate = result.stage.optimizer.learning_rate
    said = capsys.readouterr().out
    assert f"learning rate {rate:g}\n" in said
    assert f"· head {rate:.2g}\n" in said
    assert f" {rate * 0.5:.2g} · head" in said

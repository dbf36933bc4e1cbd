import pytest

from thaw.config.schema import OptimizerConfig
from thaw.training.optimizers import scheduled_learning_rate


def rates(config: OptimizerConfig, epochs: int = 4, steps: int = 10) -> list[float]:
    return [scheduled_learning_rate(config, step, steps, epochs) for step in range(epochs * steps)]


def test_constant_is_constant() -> None:
    assert set(rates(OptimizerConfig(learning_rate=0.1))) == {0.1}


def test_cosine_falls_from_the_rate_to_almost_nothing() -> None:
    course = rates(OptimizerConfig(learning_rate=0.1, schedule="cosine"))
    assert course[0] == 0.1
    assert course[20] == pytest.approx(0.05)
    assert course == sorted(course, reverse=True)
    assert 0 < course[-1] < 0.001


def test_warmup_rises_linearly_to_the_rate() -> None:
    course = rates(OptimizerConfig(learning_rate=0.1, schedule="cosine", warmup_epochs=1.0))
    assert course[:10] == pytest.approx([0.01 * (i + 1) for i in range(10)])
    assert course[10] == 0.1
    assert rates(OptimizerConfig(learning_rate=0.1, warmup_epochs=0.5))[4:7] == pytest.approx([0.1, 0.1, 0.1])


def test_a_share_of_the_stage_warms_up_whatever_its_epochs_are() -> None:
    for epochs in (2, 4, 30):
        config = OptimizerConfig(learning_rate=0.1, schedule="cosine", warmup_ratio=0.125)
        course = rates(config, epochs=epochs, steps=20)
        top = course.index(0.1)
        assert abs(top + 1 - 0.125 * epochs * 20) <= 1
        assert course[: top + 1] == sorted(course[: top + 1])


def test_epochs_of_warm_up_go_before_a_share() -> None:
    for given in (0.0, 1.0):
        both = OptimizerConfig(learning_rate=0.1, warmup_epochs=given, warmup_ratio=0.5)
        assert rates(both) == rates(OptimizerConfig(learning_rate=0.1, warmup_epochs=given))


def test_one_cycle_rises_in_a_quarter_of_the_steps_and_falls_to_zero() -> None:
    course = rates(OptimizerConfig(learning_rate=0.1, schedule="one_cycle"), epochs=4, steps=25)
    top = course.index(max(course))
    assert (course[0], top, course[-1]) == (pytest.approx(0.004), 25, 0.0)
    assert course[top] == pytest.approx(0.1, rel=1e-3)
    assert course[: top + 1] == sorted(course[: top + 1])
    assert course[top:] == sorted(course[top:], reverse=True)

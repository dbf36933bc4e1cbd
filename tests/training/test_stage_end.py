"""When a stage ends before its last epoch because the time is up."""

from thaw.training.stage_end import StageEnd, stage_epochs, stage_epochs_tag


def ends(end: StageEnd, epochs: int) -> list[bool]:
    return [end.is_now(done) for done in range(1, epochs + 1)]


def test_a_stage_ends_after_the_epoch_behind_which_no_other_fits() -> None:
    times = iter([0.0, 10.0, 20.0, 30.0])
    assert ends(StageEnd(deadline=35.0, clock=lambda: next(times)), 3) == [False, False, True]
    times = iter([0.0, 10.0, 30.0])
    assert ends(StageEnd(deadline=45.0, clock=lambda: next(times)), 2) == [False, True], "the last epoch counts"


def test_what_comes_once_is_not_expected_of_the_next_epoch() -> None:
    times = iter([0.0, 18.0, 28.0])
    assert ends(StageEnd(deadline=30.0, tracing=8.0, clock=lambda: next(times)), 2) == [False, True]
    times = iter([0.0, 18.0])
    assert ends(StageEnd(deadline=30.0, clock=lambda: next(times)), 1) == [True]
    times = iter([0.0, 50.0, 60.0])
    end = StageEnd(deadline=75.0, clock=lambda: next(times))
    end.restart()  # behind a range test
    assert not end.is_now(1)


def test_without_a_deadline_no_stage_ends() -> None:
    assert ends(StageEnd(), 3) == [False] * 3


def test_a_reproduced_stage_ends_where_the_original_did_whatever_the_time() -> None:
    times = iter([0.0, 1.0, 2.0, 3.0])
    assert ends(StageEnd(deadline=0.5, epochs=2, clock=lambda: next(times)), 3) == [False, True, True]


def test_the_tag_of_a_stage_is_read_again() -> None:
    tags = {stage_epochs_tag(1): "3", "thaw.stage": "thaw", "thaw.stage.1": "thaw", "thaw.stage.1.plan": "frozen"}
    assert stage_epochs(tags) == {1: 3}

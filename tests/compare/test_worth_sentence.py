"""The sentence on top, in all its turns."""

import pytest

from thaw.compare.run_comparison import compare_runs
from thaw.compare.worth_sentence import more_time, p_text

from .made_runs import images, made_run, rights
from .test_setting_figures import planted


def sentence(runs) -> str:
    return compare_runs(runs).sentence


def timed(only_a: int, only_b: int, both: int, neither: int, seconds: float = 490.0):
    cheap, dear = planted(only_a, only_b, both, neither)
    return cheap, made_run([p.predicted == "cat" for p in dear.predictions.values()], run_id="b" * 32, seconds=seconds)


def test_the_dearer_one_is_worth_it() -> None:
    assert sentence(timed(3, 14, 60, 23)) == (
        "bottleneck 0.630 against finetune 0.740: +11.0 points (95 % interval 3.3 to 19.7, p = 0.013), "
        "for 8 minutes more."
    )


def test_the_difference_may_be_luck() -> None:
    assert sentence(timed(5, 7, 60, 28)) == (
        "bottleneck 0.650 against finetune 0.670: +2.0 points (95 % interval -5.4 to 9.6, p = 0.77), "
        "for 8 minutes more: the difference may be luck."
    )


def test_the_cheaper_one_is_better() -> None:
    assert sentence(timed(40, 2, 40, 18)).endswith("p < 0.001), for 8 minutes more: the cheaper one is better.")
    assert "bottleneck 0.800 against finetune 0.420: -38.0 points" in sentence(timed(40, 2, 40, 18))


def test_no_difference_was_found() -> None:
    assert sentence(timed(4, 4, 60, 32)).endswith("+0.0 points (95 % interval -6.5 to 6.5, p = 1.00), "
                                                  "for 8 minutes more: no difference was found.")  # fmt: skip


def test_of_more_settings_the_cheapest_stands_against_the_best_with_the_corrected_p() -> None:
    middle = made_run(rights("1" * 64 + "0" * 36), run_id="c", recipe="scratch", seconds=100.0)
    assert sentence([*timed(3, 14, 60, 23), middle]).startswith(
        "Of 3 settings, the cheapest against the best: bottleneck 0.630 against finetune 0.740: +11.0 points "
        "(95 % interval of this pair alone 3.3 to 19.7, p = 0.038 corrected for 3 pairs), for 8 minutes more."
    )


def test_where_the_cheapest_is_the_best_it_stands_against_the_next_best() -> None:
    worse = made_run(rights("0" * 100), run_id="c", recipe="scratch", seconds=20.0)
    assert sentence([*timed(40, 2, 40, 18), worse]).startswith(
        "Of 3 settings, bottleneck is the best and the cheapest; against the next best: bottleneck 0.800 against "
    )


def test_several_seeds_are_named_in_it() -> None:
    seeds = [made_run(rights("1" * n + "0" * (20 - n)), run_id=f"s{n}", recipe="bottleneck", seed=n, seconds=10.0)
             for n in (10, 12)]  # fmt: skip
    assert sentence([*seeds, made_run(rights("1" * 20), run_id="b", seconds=10.2)]).startswith(
        "bottleneck 0.550 (2 seeds) against finetune 1.000: +45.0 points (95 % interval 2"
    )


def test_seeds_alone_are_described() -> None:
    seeds = [made_run(rights("1" * n + "0" * (20 - n)), run_id=f"s{n}", seed=n) for n in (10, 12, 14)]
    assert sentence(seeds) == "3 seeds of one config: test accuracy 0.600 on average, deviation 0.100, 0.500 to 0.700."


def test_what_was_not_tested_is_said() -> None:
    test, logged = images(4), {"test/accuracy": 0.5}
    a = made_run(rights("1110"), run_id="a", recipe="bottleneck", seconds=10.0)
    b = made_run(None, run_id="b", test=test, metrics=logged, seconds=70.0)
    assert sentence([a, b]) == (
        "bottleneck 0.750 against finetune 0.500: -25.0 points, for 60 seconds more; not tested, as finetune kept no "
        "predictions."
    )
    assert sentence([made_run(None, run_id="a", recipe="scratch", test=test), b]) == (
        "The runs have no test accuracy that could be compared."
    )


def test_a_run_that_does_not_say_its_seconds_counts_as_the_dearest() -> None:
    a = made_run(rights("1110"), run_id="a", recipe="bottleneck", seconds=None)
    assert sentence([a, made_run(rights("1100"), run_id="b", seconds=70.0)]).startswith(
        "finetune 0.500 against bottlen"
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.3, "in the same time"), (1.2, "for 1 second more"),
        (-45, "for 45 seconds less"), (480, "for 8 minutes more"),
        (-5400, "for 1.5 hours less"),
    ],
)  # fmt: skip
def test_time_is_said_in_words(seconds: float, words: str) -> None:
    assert more_time(seconds) == words


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.00099, "p < 0.001"), (0.0023, "p = 0.002"), (0.04, "p = 0.040"), (0.5, "p = 0.50"), (1, "p = 1.00")],
)
def test_p_is_written_with_two_or_three_decimals(p: float, text: str) -> None:
    assert p_text(p) == text


def test_the_same_weights_are_no_comparison() -> None:
    runs = [made_run(rights("10"), run_id=run_id) for run_id in "ab"]
    for run in runs:
        run.stored.tags["thaw.weights_sha256"] = "same"
    assert sentence(runs) == "The runs trained the same weights, bit for bit: there is nothing to compare."
    remark = "Runs that trained the very weights of another one are left out: finetune-photos a (1)."
    assert remark in compare_runs(runs).remarks

"""Whether two ways to the same probabilities agree: no TensorFlow."""

import numpy as np
import pytest

from thaw.results.parity import (
    ENOUGH_IMAGES,
    LARGE_SAMPLE,
    MAX_CHUNK,
    Parity,
    SampleLimits,
    compare_probabilities,
    compare_sample,
    sample_order,
    seconds_for_parity,
)


def probabilities(count: int, classes: int = 3, seed: int = 0) -> np.ndarray:
    """A clear first class for every image, float32 (count, classes)."""
    logits = np.random.default_rng(seed).normal(0, 0.3, (count, classes))
    logits[np.arange(count), np.arange(count) % classes] += 3
    return softmax(logits)


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def flipped(given: np.ndarray, rows: object) -> np.ndarray:
    """The same with another first class at these rows."""
    other = given.copy()
    other[rows] = np.roll(given[rows], 1, axis=1)
    return other


class SavedNetwork:
    """Answers for the saved network, remembers what it was asked for, and has a clock that each image takes time on."""

    def __init__(self, answers: np.ndarray, seconds: float = 1.0, first: float = 0.0) -> None:
        self.answers, self._seconds = answers, seconds
        self.asked: list[np.ndarray] = []
        self.now, self._first = 0.0, first

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        self.now += self._seconds * len(rows) + (0 if self.asked else self._first)
        self.asked.append(rows)
        return self.answers[rows]

    def compare(self, engine: np.ndarray, seed: int = 0, **limits: object) -> Parity:
        order = sample_order(len(engine), seed)
        return compare_sample(engine, self, order, SampleLimits(**limits), lambda: self.now)

    @property
    def rows(self) -> list[int]:
        return np.concatenate(self.asked).tolist()


def slightly_off(given: np.ndarray) -> np.ndarray:
    """The same as another precision gives: the same classes, with a difference that could change others."""
    return given * np.float32(0.98)


def test_equal_probabilities_do_not_differ() -> None:
    given = probabilities(64)
    assert compare_probabilities(given, given.copy()) == Parity(64, 0, 0.0, 0.0)


def test_a_flip_is_counted_and_its_difference_measured() -> None:
    given = np.array([[0.75, 0.25], [0.5, 0.5]], np.float32)
    other = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
    compared = compare_probabilities(given, other)
    assert (compared.images, compared.differ) == (2, 1)
    assert compared.max_probability_difference == pytest.approx(0.5)
    # log(3) / 2 from the mean on one side, as much below it on the other
    assert compared.max_logit_difference == pytest.approx(np.log(3))


def test_a_rounding_that_changes_no_class_is_measured_and_not_counted() -> None:
    given = probabilities(64)
    compared = compare_probabilities(given, given * np.float32(1 - 1e-3))
    assert compared.differ == 0
    assert 0 < compared.max_probability_difference <= 1.001e-3


def test_an_engine_that_gives_no_numbers_where_the_network_does_differs() -> None:
    given = probabilities(64)
    fast = given.copy()
    fast[5:8] = np.nan
    assert compare_probabilities(fast, given).differ == 3
    assert compare_probabilities(fast, fast).differ == 0, "a network that diverged is found where it is judged"


def test_the_logit_difference_does_not_see_a_constant() -> None:
    """A softmax does not, either: probabilities are logits less a constant of each image."""
    logits = np.random.default_rng(1).normal(0, 1, (20, 5))
    level = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    scaled = level * np.linspace(0.5, 1.0, 20)[:, None]  # each image's logits less a constant
    assert compare_probabilities(level, scaled).max_logit_difference == pytest.approx(0, abs=1e-9)
    other = logits.copy()
    other[3, 2] += 0.5
    assert compare_probabilities(level, softmax(other).astype(np.float64)).max_logit_difference == pytest.approx(
        0.5 * 4 / 5, abs=1e-4
    )


def test_what_a_network_is_sure_not_to_see_does_not_drown_the_rest() -> None:
    given = np.array([[1 - 1e-9, 1e-9]], np.float64)
    other = np.array([[1 - 1e-7, 1e-7]], np.float64)
    assert compare_probabilities(given, other).max_logit_difference == pytest.approx(0, abs=1e-6)


def test_a_single_flip_is_never_broken() -> None:
    for images in (1, 2, 10, 64, 512):
        assert not Parity(images, 1, 0.1, 0.1).failed


def test_more_than_one_percent_is_broken_and_one_percent_is_not() -> None:
    assert Parity(64, 2, 0, 0).failed
    assert not Parity(512, 5, 0, 0).failed
    assert Parity(512, 6, 0, 0).failed
    assert not Parity(500, 5, 0, 0).failed


def test_the_check_takes_three_seconds_or_three_percent_of_the_run() -> None:
    assert seconds_for_parity(0) == seconds_for_parity(100) == 3
    assert seconds_for_parity(1000) == 30


@pytest.mark.parametrize("seconds", [3.0, 30.0, 7.7])
@pytest.mark.parametrize("image", [1e-6, 0.004, 0.03, 0.21, 0.375])
def test_a_network_of_any_speed_is_compared_for_as_long_as_it_may_take(image: float, seconds: float) -> None:
    given = probabilities(2000)
    saved = SavedNetwork(slightly_off(given), image)
    compared = saved.compare(given, seconds=seconds)
    assert saved.now <= seconds
    assert compared.images == len(set(saved.rows)) == LARGE_SAMPLE or saved.now > seconds - 8 * image, "nor for less"
    assert compared.images % 8 == 0
    assert max(map(len, saved.asked)) <= MAX_CHUNK


def test_a_network_too_slow_for_the_time_is_compared_on_one_chunk() -> None:
    given = probabilities(2000)
    for chunk in (1, 8):
        assert SavedNetwork(given, seconds=100).compare(given, seconds=3, chunk=chunk).images == chunk


def test_a_slow_first_call_is_counted() -> None:
    given = probabilities(2000)
    saved = SavedNetwork(slightly_off(given), 0.1, first=2.5)
    assert saved.compare(given, seconds=3.0).images == 8


def test_where_probabilities_are_close_a_few_images_are_enough() -> None:
    """In float32 engines differ by 1e-5: no class changes that is no tie."""
    given = probabilities(2000)
    saved = SavedNetwork(given * np.float32(1 - 1e-4), 1e-6)
    assert saved.compare(given, seconds=3).images == ENOUGH_IMAGES
    assert SavedNetwork(slightly_off(given), 1e-6).compare(given, seconds=3).images == LARGE_SAMPLE


def test_what_an_earlier_run_has_computed_is_enough() -> None:
    """A job of a sweep takes no time for what the job before it has compared."""
    given = probabilities(2000)
    for known in (8, 24, 100, LARGE_SAMPLE):
        saved = SavedNetwork(slightly_off(given), 1e-6)
        assert saved.compare(given, seconds=3, known=known).images == known
        assert len(saved.asked) == 1
    assert SavedNetwork(slightly_off(given), 1e-6).compare(given, seconds=3, known=3).images == LARGE_SAMPLE


def test_a_run_that_is_reproduced_compares_the_same_images_whatever_the_time() -> None:
    given = probabilities(2000)
    first = SavedNetwork(flipped(given, slice(None, None, 150)), 0.1)
    compared = first.compare(given, seconds=3)
    again = SavedNetwork(first.answers, 100)
    assert again.compare(given, seconds=3, known=50, images=compared.images) == compared
    assert sorted(again.rows) == sorted(first.rows)


@pytest.mark.parametrize("known", [0, 8])
def test_a_single_flip_is_looked_into_until_it_is_one_percent(known: int) -> None:
    """One of 8 is 12 %: whether it is chance, 100 tell. The time does not count then."""
    given = probabilities(2000)
    first = sample_order(2000, 0)[:1]
    saved = SavedNetwork(flipped(given, first), 100)
    compared = saved.compare(given, seconds=3, known=known)
    assert (compared.differ, compared.failed) == (1, False)
    assert 100 <= compared.images < 100 + MAX_CHUNK


def test_flips_in_the_first_images_alone_pass_when_the_sample_has_grown() -> None:
    given = probabilities(2000)
    saved = SavedNetwork(flipped(given, sample_order(2000, 0)[:3]), 100)
    compared = saved.compare(given, seconds=3)
    assert (compared.differ, compared.failed) == (3, False)
    assert 300 <= compared.images <= LARGE_SAMPLE


def test_three_percent_of_flips_are_found_failed_by_a_sample_that_has_grown() -> None:
    given = probabilities(2000)
    answers = flipped(given, slice(None, None, 33))
    answers = flipped(answers, np.setdiff1d(sample_order(2000, 0)[:1], np.arange(0, 2000, 33)))  # the first differs
    compared = SavedNetwork(answers, 100).compare(given, seconds=3)
    assert compared.failed
    assert compared.differ > 5, "more than 1 % of the large sample: no rest could make up for it"


def test_a_broken_engine_fails_at_once() -> None:
    given = probabilities(2000)
    saved = SavedNetwork(flipped(given, slice(None)), 100)
    compared = saved.compare(given, seconds=3)
    assert (compared.images, compared.differ, compared.failed) == (8, 8, True)


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_a_failure_never_rests_on_a_sample_that_could_have_grown(seconds: float) -> None:
    """Whatever the time allows, a failed sample fails with all 512 images too."""
    generator = np.random.default_rng(5)
    given = probabilities(600)
    for _ in range(60):
        answers = flipped(given, generator.random(600) < generator.choice([0.002, 0.01, 0.02]))
        if SavedNetwork(answers).compare(given, seconds=seconds).failed:
            assert SavedNetwork(answers).compare(given, images=LARGE_SAMPLE).failed


@pytest.mark.parametrize("count", [1, 5, 8, 9, 30])
def test_a_small_set_is_compared_whole(count: int) -> None:
    given = probabilities(count)
    saved = SavedNetwork(given)
    assert saved.compare(given, seconds=1e9).images == count
    assert sorted(saved.rows) == list(range(count))


def test_a_small_set_fails_by_two_flips() -> None:
    given = probabilities(30)
    order = sample_order(30, 0)
    for flips in (1, 2):
        compared = SavedNetwork(flipped(given, order[:flips]), 100).compare(given, seconds=3)
        assert (compared.differ, compared.failed) == (flips, flips > 1)


def test_the_sample_is_spread_over_all_images_and_the_same_for_a_seed() -> None:
    """A sorted data set: its first 64 images are of one class."""
    one, again, other = (sample_order(2000, seed) for seed in (0, 0, 1))
    assert one.tolist() == again.tolist() != other.tolist()
    assert len(set(one.tolist())) == len(one) == LARGE_SAMPLE
    assert one.max() > 1500
    assert one[:64].min() < 500


def test_what_is_compared_are_the_same_images() -> None:
    given = probabilities(1000, classes=7)
    for limits in ({"seconds": 1e9}, {"images": 300}, {"known": 40}):
        assert SavedNetwork(given).compare(given, 3, **limits).max_probability_difference == 0.0

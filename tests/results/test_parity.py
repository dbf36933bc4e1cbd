"""Whether two ways to the same probabilities agree: no TensorFlow."""

import numpy as np
import pytest

from thaw.results import parity
from thaw.results.parity import LARGE_SAMPLE, MAX_SAMPLE_MACS, SAMPLE, Parity, compare_probabilities, compare_sample

HEAVY = 1e12  # multiplications an image: so large a network is compared on the small sample first


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
    """Answers for the saved network and remembers what it was asked for."""

    def __init__(self, answers: np.ndarray) -> None:
        self.answers = answers
        self.asked: list[np.ndarray] = []

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        self.asked.append(rows)
        return self.answers[rows]

    @property
    def sizes(self) -> list[int]:
        return [len(rows) for rows in self.asked]


def sampled(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the first sample, and those of the large one."""
    saved = SavedNetwork(flipped(probabilities(count), slice(None)))
    compare_sample(probabilities(count), saved, seed, HEAVY)
    return saved.asked[0], saved.asked[1]


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


def test_a_small_network_is_compared_on_the_large_sample_at_once() -> None:
    given = probabilities(2000)
    for macs in (0.0, 1e6, MAX_SAMPLE_MACS / LARGE_SAMPLE):
        saved = SavedNetwork(given)
        assert compare_sample(given, saved, 0, macs) == Parity(LARGE_SAMPLE, 0, 0.0, 0.0)
        assert saved.sizes == [LARGE_SAMPLE]


def test_the_small_sample_is_enough_for_a_large_network_where_all_agree() -> None:
    given = probabilities(2000)
    saved = SavedNetwork(given)
    compared = compare_sample(given, saved, 0, HEAVY)
    assert (compared.images, compared.differ, compared.failed) == (SAMPLE, 0, False)
    assert saved.sizes == [SAMPLE]


def test_between_them_as_many_images_as_the_arithmetic_allows_are_compared() -> None:
    given = probabilities(2240)
    saved = SavedNetwork(given)
    assert compare_sample(given, saved, 0, MAX_SAMPLE_MACS / 224).images == 224
    assert saved.sizes == [224]


@pytest.mark.parametrize(("macs", "sizes"), [(HEAVY, [SAMPLE, LARGE_SAMPLE]), (0.0, [LARGE_SAMPLE])])
def test_too_many_flips_are_found_broken_after_the_large_sample(macs: float, sizes: list[int]) -> None:
    given = probabilities(2000)
    saved = SavedNetwork(flipped(given, slice(None, None, 20)))  # 5 %
    compared = compare_sample(given, saved, 0, macs)
    assert (compared.images, compared.failed) == (512, True)
    assert saved.sizes == sizes


def test_flips_only_in_the_first_sample_pass_when_the_large_one_has_few() -> None:
    given = probabilities(2000)
    first, large = sampled(2000)
    assert set(first) <= set(large), "the large sample holds the small one"
    saved = SavedNetwork(flipped(given, first[:3]))
    compared = compare_sample(given, saved, 0, HEAVY)
    assert saved.sizes == [SAMPLE, LARGE_SAMPLE]
    assert (compared.images, compared.differ, compared.failed) == (LARGE_SAMPLE, 3, False)


def test_a_single_flip_calls_for_the_large_sample() -> None:
    """One of 32 is 3 %: whether it is chance, 512 tell."""
    given = probabilities(2000)
    first, _ = sampled(2000)
    saved = SavedNetwork(flipped(given, first[:1]))
    assert compare_sample(given, saved, 0, HEAVY).differ == 1
    assert saved.sizes == [SAMPLE, LARGE_SAMPLE]


@pytest.mark.parametrize("macs", [HEAVY, 0.0])
@pytest.mark.parametrize("count", [1, 5, SAMPLE, SAMPLE + 1, 300])
def test_fewer_images_than_a_sample_are_all_compared(count: int, macs: float) -> None:
    given = probabilities(count)
    saved = SavedNetwork(given)
    assert compare_sample(given, saved, 0, macs).images == min(count, SAMPLE if macs else LARGE_SAMPLE)
    if count <= SAMPLE or not macs:
        assert saved.asked[0].tolist() == list(range(count))


@pytest.mark.parametrize("macs", [HEAVY, 0.0])
def test_a_small_set_whose_classes_differ_is_broken_without_asking_twice(macs: float) -> None:
    given = probabilities(30)
    saved = SavedNetwork(flipped(given, [3, 4]))
    compared = compare_sample(given, saved, 0, macs)
    assert (compared.images, compared.differ, compared.failed) == (30, 2, True)
    assert saved.sizes == [30]


def test_a_set_between_the_samples_is_decided_by_all_of_it() -> None:
    given = probabilities(300)
    first, all_of_it = sampled(300)
    assert all_of_it.tolist() == list(range(300))
    compared = compare_sample(given, SavedNetwork(flipped(given, first[:3])), 0, HEAVY)
    assert (compared.images, compared.differ) == (300, 3)
    assert not compared.failed
    assert compare_sample(given, SavedNetwork(flipped(given, first[:4])), 0, HEAVY).failed


def test_the_sample_is_spread_over_all_images_and_the_same_for_a_seed() -> None:
    """A sorted data set: its first 64 images are of one class."""
    one, again, other = (sampled(2000, seed)[0] for seed in (0, 0, 1))
    assert one.tolist() == again.tolist() != other.tolist()
    assert one.tolist() == sorted(set(one.tolist()))
    assert one.max() > 1500
    assert one.min() < 500


def test_what_is_compared_are_the_same_images() -> None:
    """run_kept answers in the order of the rows that it was given."""
    given = probabilities(1000, classes=7)
    assert compare_sample(given, lambda rows: given[rows], 3).max_probability_difference == 0.0
    assert parity.compare_sample(given, SavedNetwork(given), 4).max_logit_difference == 0.0

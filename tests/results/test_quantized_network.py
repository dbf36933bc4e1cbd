"""The accuracy of a quantised network against that in float32, on the same images."""

import numpy as np
import pytest

from thaw.results.quantized_network import compare_accuracies


def right(*counts: tuple[bool, bool, int]) -> tuple[np.ndarray, np.ndarray]:
    """Which images each of both networks gets right: (first, second, how many)."""
    first, second = zip(*((a, b) for a, b, n in counts for _ in range(n)), strict=True)
    return np.array(first), np.array(second)


def test_equal_networks_have_no_difference_and_an_interval_around_it() -> None:
    found = compare_accuracies(*right((True, True, 90), (False, False, 10)))
    assert (found.quantized, found.float32, found.difference, found.p_value) == (0.9, 0.9, 0.0, 1.0)
    low, high = found.difference_interval
    assert low == pytest.approx(-high)
    assert 0.01 < high < 0.03
    assert found.quantized_interval == pytest.approx((0.8256, 0.9448), abs=1e-3)  # Wilson's


def test_the_difference_is_paired() -> None:
    """Of 200 images one network alone gets 12 right, the other alone 2: McNemar's exact test."""
    found = compare_accuracies(*right((True, True, 150), (True, False, 2), (False, True, 12), (False, False, 36)))
    assert (found.only_quantized_right, found.only_float32_right) == (2, 12)
    assert found.difference == pytest.approx(-0.05)
    assert found.p_value == pytest.approx(2 * (1 + 14 + 91) / 2**14)
    low, high = found.difference_interval
    assert low < -0.05 < high < 0
    assert "difference -0.0500" in found.line()

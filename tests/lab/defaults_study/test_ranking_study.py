"""The rank correlation of the study that compares advise with fine-tunings."""

import pytest

from thaw_lab.defaults_study.run_ranking_study import candidates, correlation_with_interval


def test_the_interval_is_around_the_correlation_and_wide_where_there_are_few_networks() -> None:
    advised = [0.70, 0.72, 0.75, 0.77, 0.80, 0.84, 0.86, 0.9]
    same, low, high = correlation_with_interval(advised, [a + 0.05 for a in advised])
    assert (same, low, high) == pytest.approx((1.0, 1.0, 1.0))
    assert correlation_with_interval(advised, [-a for a in advised])[0] == pytest.approx(-1.0)
    mixed = [0.72, 0.70, 0.77, 0.75, 0.84, 0.80, 0.9, 0.86]
    found, low, high = correlation_with_interval(advised, mixed)
    assert low < found < high <= 1
    few = correlation_with_interval(advised[:4], mixed[:4])
    assert few[2] - few[1] > high - low


def test_networks_are_compared_at_sides_that_advise_can_tell_apart() -> None:
    found = candidates(None)
    assert [each.name for each in found][:2] == ["Lite0, 96 px", "Lite0, 128 px"]
    assert found[-1].arguments == ("backbone=efficientnet_lite2", "backbone.image_size=160")
    with_mobilenet = candidates("mobilenet.h5")
    assert with_mobilenet[: len(found)] == found
    for each in with_mobilenet[len(found) :]:
        assert "backbone.weights=mobilenet.h5" in each.arguments
        assert each.imagenet == 0.506, "the file is that of Keras, whose accuracy is published"

"""What an export must reach, and what a refusal says."""

import numpy as np
import pytest

from thaw.common.errors import UserError
from thaw.export.export_agreement import Agreement, Demand, check_agreement

NETWORK = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.502, 0.498]], np.float32)
LABELS = np.array([0, 1, 1, 0], np.int32)
NAMES, CLASSES = ["a.jpg", "b.jpg", "c.jpg", "d\n.jpg"], ["cat", "dog"]


def check(export: np.ndarray, agreement: float = 0.99, largest: float = 1.0) -> None:
    check_agreement(Agreement(export, NETWORK, LABELS), Demand("format=onnx", agreement, largest), NAMES, CLASSES)


def test_probabilities_that_rounding_cannot_explain_are_refused_though_classes_agree() -> None:
    export = NETWORK.copy()
    export[1] = 0.32, 0.68
    check(export, 1.0, 0.13)
    with pytest.raises(UserError, match=r"differ from the network's by up to 0.120, which is no rounding") as refused:
        check(export, 1.0, 0.01)
    assert str(refused.value).splitlines()[1:] == [
        "  b.jpg: dog (0.800) by the network, dog (0.680) by the export",
    ]


def test_a_near_tie_is_no_disagreement() -> None:
    export = NETWORK.copy()
    export[3] = 0.498, 0.502
    check(export, 1.0)


def test_a_refusal_names_the_worst_images_with_both_classes() -> None:
    export = NETWORK[:, ::-1].copy()
    with pytest.raises(UserError) as refused:
        check(export)
    first, *images = str(refused.value).splitlines()
    assert "3 of 4 test images get another class" in first
    assert "the agreement is 0.2500, and agreement=0.99 is asked" in first
    assert images == [
        "  a.jpg: cat (0.900) by the network, dog (0.900) by the export",
        "  b.jpg: dog (0.800) by the network, cat (0.800) by the export",
        "  c.jpg: cat (0.600) by the network, dog (0.600) by the export",
    ]


def test_less_may_be_asked() -> None:
    check(NETWORK[:, ::-1], 0.25)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_probability_that_is_not_finite_is_refused_whatever_is_asked(value: float) -> None:
    export = NETWORK.copy()
    export[2, 0] = value
    with pytest.raises(UserError, match="of 1 of 4 test images its probabilities are not finite"):
        check(export, 0.0)


def test_another_number_of_classes_is_refused() -> None:
    with pytest.raises(UserError, match="gives 3 probabilities for 2 classes"):
        check(np.full((4, 3), 1 / 3, np.float32), 0.0)


def test_the_figures_have_the_accuracies_with_intervals() -> None:
    export = NETWORK.copy()
    export[2] = 0.4, 0.6
    figures = Agreement(export, NETWORK, LABELS).figures()
    assert (figures["agreement"], figures["images"], figures["differ"]) == (0.75, 4, 1)
    assert figures["max_probability_difference"] == pytest.approx(0.2)
    assert figures["mean_probability_difference"] == pytest.approx(0.05)
    assert figures["accuracy_network"]["value"] == 0.75
    assert figures["accuracy_export"]["value"] == 1.0
    assert figures["accuracy_network"]["low"] == pytest.approx(0.3006, abs=1e-4)


def test_a_network_that_answers_all_images_alike_is_said_to_hide_faults() -> None:
    alike = np.full((4, 2), 0.5, np.float32) + np.array([[1e-4, -1e-4]] * 2 + [[0, 0]] * 2, np.float32)
    assert Agreement(alike, alike, LABELS).is_blind
    assert not Agreement(NETWORK, NETWORK, LABELS).is_blind
    assert not Agreement(NETWORK[:1], NETWORK[:1], LABELS[:1]).is_blind

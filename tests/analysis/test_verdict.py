import numpy as np
import pytest

from thaw.analysis.figures import SplitFigures
from thaw.analysis.split_analysis import analyse_split
from thaw.analysis.verdict import HeadAlone, verdict


def split(
    confusion: list[list[int]], names: list[str], confidence: float = 0.9, name: str = "test", **more: object
) -> SplitFigures:
    """Figures of a split with this confusion, in which each prediction has the same probability."""
    matrix = np.array(confusion)
    true, predicted = (np.repeat(index.ravel(), matrix.ravel()) for index in np.indices(matrix.shape))
    classes = len(names)
    probabilities = np.full((len(true), classes), (1 - confidence) / (classes - 1), np.float32)
    probabilities[np.arange(len(true)), predicted] = confidence
    return analyse_split(name, probabilities, true, names, **more)


def clothing() -> SplitFigures:
    """339 of 372 right; the majority class has 172 images."""
    return split([[95, 5, 0], [12, 78, 10], [6, 0, 166]], ["shirt", "dress", "shoes"], training_counts=[9, 3, 3])


def head(both: int, only_run: int, only_alone: int, neither: int) -> HeadAlone:
    counts = [both, only_run, only_alone, neither]
    return HeadAlone(
        accuracy_right=np.repeat([True, False, True, False], counts),
        run_right=np.repeat([True, True, False, False], counts),
    )


def test_the_first_line_gives_accuracy_interval_and_counts() -> None:
    lines = verdict(clothing()).lines
    assert lines[0] == "test accuracy 0.911 (95 % interval 0.878 to 0.936, 339 of 372 images)"


def test_lines_come_in_the_order_of_what_matters() -> None:
    lines = verdict(
        clothing(), head_alone=head(310, 29, 10, 23), validation=split([[9, 1], [2, 8]], ["a", "b"], name="val")
    )
    assert lines.lines == [
        "test accuracy 0.911 (95 % interval 0.878 to 0.936, 339 of 372 images)",
        "always guessing the majority class, shoes, would give 0.462: the network is 44.9 points better",
        "+5.1 points against the head alone (95 % interval +1.9 to +8.6): worth it",
        "most confused: dress taken for shirt (12 of 100); dress taken for shoes (10 of 100); "
        "shoes taken for shirt (6 of 172)",
        "test has 372 images, the interval is 5.8 points wide",
        "validation is too small to tell small differences: 20 images, the interval is 30.8 points wide",
        "probabilities are well calibrated (ECE 0.011)",
    ]
    assert lines.sentence == (
        "test accuracy 0.911 (95 % interval 0.878 to 0.936); always guessing shoes: 0.462; "
        "the head alone: 0.860 (+5.1 points, worth it)"
    )


def test_without_a_head_alone_nothing_is_said_of_it() -> None:
    made = verdict(clothing())
    assert made.sentence == "test accuracy 0.911 (95 % interval 0.878 to 0.936); always guessing shoes: 0.462"
    assert "head" not in " ".join(made.lines)


@pytest.mark.parametrize(
    ("counts", "line", "short"),
    [
        ((300, 30, 30, 12), "no better than the head alone, within chance", "+0.0 points, within chance"),
        ((320, 12, 8, 32), "no better than the head alone, within chance", "+1.1 points, within chance"),
        ((300, 8, 40, 24), "worse than the head alone", "-8.6 points, worse"),
        ((372, 0, 0, 0), "no better than the head alone, within chance", "+0.0 points, within chance"),
    ],
)
def test_no_difference_is_claimed_within_chance(counts: tuple[int, int, int, int], line: str, short: str) -> None:
    made = verdict(clothing(), head_alone=head(*counts))
    assert made.lines[2].endswith(line)
    assert short in made.sentence
    assert "worth it" not in made.sentence + " ".join(made.lines)


def test_the_head_alone_must_be_of_the_same_images() -> None:
    with pytest.raises(ValueError, match="same images"):
        verdict(clothing(), head_alone=HeadAlone(np.ones(3, bool), np.ones(4, bool)))


@pytest.mark.parametrize(
    ("confusion", "ending"),
    [
        ([[90, 10], [20, 30]], "would give 0.667: the network is 13.3 points better"),
        ([[90, 10], [45, 5]], "would give 0.667: the network is no better, within chance"),
        ([[95, 5], [44, 6]], "would give 0.667: the network is no better, within chance"),  # 0.673
        ([[10, 90], [20, 30]], "would give 0.667: the network is 40.0 points worse"),
    ],
)
def test_the_majority_class_is_beaten_only_beyond_chance(confusion: list[list[int]], ending: str) -> None:
    assert verdict(split(confusion, ["cat", "dog"])).lines[1] == f"always guessing the majority class, cat, {ending}"


def test_few_images_and_classes_with_few_or_none_are_named_once() -> None:
    names = ["cat", "dog", "fox", "owl"]
    lines = verdict(split([[50, 0, 0, 0], [3, 6, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0]], names)).lines
    assert lines[3] == (
        "test is too small to tell small differences: 61 images, the interval is 11.8 points wide; "
        "too few to tell for fox (2), dog (9); none of owl"
    )
    assert sum("owl" in line for line in lines) == 1


def test_of_many_small_classes_five_are_named() -> None:
    names = [f"c{i}" for i in range(40)]
    line = verdict(split(np.diag([9] * 30 + [0] * 10).tolist(), names)).lines[3]
    assert line.endswith(
        "too few to tell for c0 (9), c1 (9), c2 (9), c3 (9), c4 (9) and 25 more classes; "
        "none of c30, c31, c32, c33, c34 and 5 more classes"
    )


def test_everything_right_confuses_nothing() -> None:
    assert "no image is confused" in verdict(split([[5, 0], [0, 5]], ["cat", "dog"])).lines


@pytest.mark.parametrize(
    ("confidence", "begins"),
    [
        (0.99, "overconfident: mean probability 0.990 of the predicted class (ECE 0.190)"),
        (0.55, "underconfident: mean probability 0.550 of the predicted class (ECE 0.250)"),
        (0.82, "probabilities are well calibrated (ECE 0.020)"),
        (0.84, "probabilities are well calibrated (ECE 0.040)"),  # 200 images cannot tell 0.84 from 0.80
    ],
)
def test_calibration_is_judged_by_the_interval(confidence: float, begins: str) -> None:
    assert verdict(split([[80, 20], [20, 80]], ["cat", "dog"], confidence)).lines[-1] == begins


def test_the_temperature_is_given_with_what_it_changes() -> None:
    figures = split([[80, 20], [20, 80]], ["cat", "dog"], 0.99, temperature=3.3)
    assert figures.calibrated is not None
    assert verdict(figures).lines[-1].endswith("(ECE 0.190); with temperature 3.30, fitted on validation, ECE 0.001")


def test_probabilities_that_err_both_ways_are_not_called_well_calibrated() -> None:
    # 300 of 500 right at 0.9, 460 of 500 right at 0.6: on the whole 0.76 right, at a mean of 0.75.
    right = np.repeat([True, False, True, False], [300, 200, 460, 40])
    p = np.repeat([0.9, 0.6], 500)
    labels = np.where(right, 1, 0)
    made = verdict(analyse_split("test", np.stack([1 - p, p], axis=1), labels, ["cat", "dog"]))
    assert made.lines[-1] == "probabilities are too high in places and too low in others (ECE 0.310)"


def test_nothing_is_said_of_the_calibration_of_few_images() -> None:
    assert "ECE" not in " ".join(verdict(split([[40, 9], [40, 10]], ["cat", "dog"], 0.99)).lines)


def test_names_with_control_characters_stay_on_one_line() -> None:
    figures = split([[8, 2], [0, 0]], ["a\nb\x1b[31m", "c\udcff"], name="my\ndata")
    made = verdict(figures)
    for text in (made.sentence, *made.lines):
        assert text.isprintable()
    assert "a\\nb\\x1b[31m" in made.sentence
    assert made.lines[0].startswith("my\\ndata accuracy 0.800")


def test_one_image_has_a_verdict() -> None:
    made = verdict(split([[1, 0], [0, 0]], ["cat", "dog"]))
    assert made.lines[0] == "test accuracy 1.000 (95 % interval 0.207 to 1.000, 1 of 1 images)"
    assert made.lines[1].endswith("no better, within chance")
    assert made.lines[3].startswith("test is too small to tell small differences: 1 image, ")

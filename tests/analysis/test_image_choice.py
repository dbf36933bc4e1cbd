import numpy as np

from thaw.analysis.image_choice import confident_mistakes, suspect_labels, typical_of_classes, uncertain_hits

PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8], [0.55, 0.45]], np.float32)
LABELS = np.array([0, 0, 1, 1, 0, 0])


def test_the_most_confident_mistakes_come_first_and_equal_ones_in_the_order_of_the_split() -> None:
    assert confident_mistakes(PROBABILITIES, LABELS) == [1, 4, 2]
    assert confident_mistakes(PROBABILITIES, LABELS, limit=2) == [1, 4]


def test_the_least_certain_hits_come_first() -> None:
    assert uncertain_hits(PROBABILITIES, LABELS) == [5, 3, 0]
    assert uncertain_hits(PROBABILITIES, LABELS, limit=1) == [5]


def test_there_is_nothing_to_show_where_all_are_right_or_wrong() -> None:
    assert confident_mistakes(PROBABILITIES[:1], LABELS[:1]) == []
    assert uncertain_hits(PROBABILITIES[1:3], LABELS[1:3]) == []


def test_the_typical_image_is_the_nearest_to_the_mean_of_its_class() -> None:
    labels = np.array([2, 0, 0, 0, 2])
    features = np.array([[5.0, 5.0], [0.0, 0.0], [1.0, 0.0], [2.5, 0.0], [5.0, 5.0]], np.float32)
    probabilities = np.tile(np.float32([0.2, 0.3, 0.5]), (5, 1))
    assert typical_of_classes(probabilities, labels, features) == [2, 0]  # class 1 has no image


def test_without_features_the_typical_image_has_the_most_probable_true_class() -> None:
    assert typical_of_classes(PROBABILITIES, LABELS) == [0, 3]


def test_planted_wrong_labels_are_the_suspects_most_improbable_first() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 40)
    logits = rng.normal(size=(120, 3))
    logits[np.arange(120), truth] += 6
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels, planted = truth.copy(), [5, 50, 100]
    labels[planted] = (truth[planted] + 1) % 3
    suspects = suspect_labels(probabilities.astype(np.float32), labels)
    assert sorted(suspects) == planted
    of_label = probabilities[suspects, labels[suspects]]
    assert list(of_label) == sorted(of_label)
    assert suspect_labels(probabilities, labels, limit=1) == suspects[:1]


def test_the_least_probable_label_is_suspected_first_whatever_the_other_classes_probability() -> None:
    sure = [[0.75, 0.1, 0.15], [0.1, 0.75, 0.15], [0.1, 0.1, 0.8]]
    probabilities = np.array([*sure * 4, [0.0, 0.9, 0.1], [0.02, 0.98, 0.0], [0.0, 0.85, 0.15]])
    assert suspect_labels(probabilities, np.array([*[0, 1, 2] * 4, 0, 0, 0])) == [12, 14, 13]


def test_an_unsure_mistake_is_no_suspect() -> None:
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.05, 0.95], [0.05, 0.95], [0.55, 0.45]])
    assert suspect_labels(probabilities, np.array([0, 0, 1, 1, 1])) == []


def test_an_image_whose_label_is_predicted_is_no_suspect() -> None:
    """The last image is less of a cat than cats are, and more of a dog than dogs are."""
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.7, 0.3], [0.7, 0.3], [0.6, 0.4]])
    assert suspect_labels(probabilities, np.array([0, 0, 1, 1, 0])) == []


def test_a_class_without_images_makes_nobody_a_suspect() -> None:
    probabilities = np.array([[0.1, 0.1, 0.8], [0.6, 0.3, 0.1], [0.3, 0.6, 0.1]])
    assert suspect_labels(probabilities, np.array([0, 0, 1])) == []
    assert suspect_labels(np.zeros((0, 3)), np.zeros(0, int)) == []


def test_suspects_are_those_of_cleanlabs_confident_learning() -> None:
    from cleanlab.count import compute_confident_joint

    rng = np.random.default_rng(2)
    truth = rng.integers(0, 4, 400)
    labels = np.where(rng.random(400) < 0.1, rng.integers(0, 4, 400), truth)
    probabilities = rng.dirichlet(np.ones(4), 400)
    probabilities[np.arange(400), truth] += 0.8
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    _, off_diagonal = compute_confident_joint(labels, probabilities, return_indices_of_off_diagonals=True)
    wrong = {int(i) for i in off_diagonal if probabilities[i].argmax() != labels[i]}
    assert len(wrong) > 5
    assert set(suspect_labels(probabilities, labels)) == wrong

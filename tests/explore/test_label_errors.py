"""The probe that looks for wrong labels, on features made for it."""

import numpy as np
import pytest

from thaw.explore import label_errors


def blobs(counts, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    return (rng.normal(0, 1, (len(labels), 20)) + 8 * np.eye(20)[labels]).astype(np.float32), labels


def test_a_planted_wrong_label_is_found_with_the_class_it_should_have():
    features, labels = blobs([40, 40, 40])
    wrong = labels.copy()
    wrong[[5, 90]] = 1, 0
    scores = label_errors.score_labels(features, wrong, 3, folds=5, seed=0)
    assert set(scores.suspects[:2]) == {5, 90}
    assert scores.suggested[[5, 90]].tolist() == [0, 2]
    assert max(scores.quality[[5, 90]]) < np.delete(scores.quality, [5, 90]).min()
    assert scores.probe_accuracy > 0.9


def test_a_picture_is_never_judged_by_a_probe_that_has_seen_it():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(0, 1, (60, 200)).astype(np.float32), np.arange(60, dtype=np.int32) % 2
    assert (
        label_errors.score_labels(features, labels, 2, folds=5, seed=0).probe_accuracy < 0.7
    )  # a probe that has seen them is at 1.0


@pytest.mark.parametrize("counts", [[3, 3], [1, 8], [1, 1], [2, 1, 30], [6, 0, 6], [5, 0]])
def test_classes_of_a_few_pictures_stop_nothing(counts):
    features, labels = blobs(counts)
    scores = label_errors.score_labels(features, labels, len(counts), folds=5, seed=0)
    assert np.isfinite(scores.quality).all()
    alone = [row for row, label in enumerate(labels) if counts[label] == 1]
    assert not set(alone) & set(scores.suspects)
    np.testing.assert_array_equal(scores.suggested[alone], labels[alone])

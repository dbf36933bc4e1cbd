"""Likely wrong labels: those that a classifier which was not trained on the image finds improbable."""

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from thaw.common.console import progress

# scikit-learn's C. Of 1e-2, 1e-3 and 3e-4 on CIFAR-10's EfficientNet-Lite0 features with 3 % planted wrong labels, the
# one with the best ranking: of as many first suspects as labels were planted, 0.68 were planted ones.
REGULARIZATION_C = 1e-3


@dataclass(frozen=True, eq=False)
class LabelScores:
    """A probe's predictions for N labels; `quality` and `suspects` are cleanlab's label quality and label issues."""

    quality: npt.NDArray[np.float32]  # (N,): probability of the given label
    suggested: npt.NDArray[np.int32]  # (N,): the most probable label
    probe_accuracy: float  # over all folds; NaN if only one class has images, so that there is nothing to classify
    suspects: tuple[int, ...]  # rows, the least probable label first


def score_labels(
    features: npt.NDArray[np.float32], labels: npt.NDArray[np.int32], num_classes: int, folds: int, seed: int
) -> LabelScores:
    """Score every label by a logistic regression on frozen features that was trained on other images.

    The number of suspects is confident learning's estimate (Northcutt et al., 2021); they are the least probable
    labels. Near duplicates may lie in different folds: keeping them together changed nothing on CIFAR-10, and where
    whole classes are connected through similar images, as digits are, nothing could be scored.
    """
    if len(np.unique(labels)) < 2:
        return LabelScores(np.ones(len(labels), np.float32), labels, float("nan"), ())
    probabilities = _out_of_fold_probabilities(features, labels, num_classes, folds, seed)
    quality = get_label_quality_scores(labels, probabilities, method="self_confidence")
    issues = find_label_issues(
        labels, probabilities, filter_by="low_self_confidence", return_indices_ranked_by="self_confidence", n_jobs=1
    )
    suggested = probabilities.argmax(axis=1).astype(np.int32)
    suspects = tuple(int(row) for row in issues if suggested[row] != labels[row])
    return LabelScores(quality.astype(np.float32), suggested, float(np.mean(suggested == labels)), suspects)


def _out_of_fold_probabilities(
    features: npt.NDArray[np.float32], labels: npt.NDArray[np.int32], num_classes: int, folds: int, seed: int
) -> npt.NDArray[np.float64]:
    """Return float64 (N, C), each row from a probe that was not trained on the image.

    As scikit-learn's cross_val_predict, which has no progress bar. An image whose class no other fold holds cannot be
    judged: its label counts as right.
    """
    probabilities = np.zeros((len(labels), num_classes))
    folds = min(folds, int(np.bincount(labels).max()))
    if folds < 2:
        return np.eye(num_classes)[labels]
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    with progress("looking for wrong labels", folds) as steps, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about classes with fewer images than folds
        for train, test in splitter.split(features, labels):
            trained = np.unique(labels[train])
            if len(trained) > 1:
                probe = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARIZATION_C, max_iter=300))
                probe.fit(features[train], labels[train])
                probabilities[np.ix_(test, trained)] = probe.predict_proba(features[test])
            unjudged = test if len(trained) < 2 else test[~np.isin(labels[test], trained)]
            probabilities[unjudged] = np.eye(num_classes)[labels[unjudged]]
            steps.advance()
    return probabilities

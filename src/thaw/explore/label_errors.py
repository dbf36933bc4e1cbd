"""Labels that a classifier which has not seen the picture would not give it."""

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

# Of 1e-2, 1e-3 and 3e-4 on CIFAR-10's EfficientNet-Lite0 features with 3 % planted wrong labels, the one whose ranking
# was best: of the first as many as were planted 0.68 were.
REGULARIZATION_C = 1e-3  # scikit-learn's C


@dataclass(frozen=True, eq=False)
class LabelScores:
    """What the probe says of N labels.

    quality: float32 (N,), the probability of the given label. suggested: int32 (N,), the most probable one. accuracy:
    of the probe, over all folds; not a number where a single class has pictures, and nothing can be asked. suspects:
    rows, the worst first.
    """

    quality: npt.NDArray[np.float32]
    suggested: npt.NDArray[np.int32]
    probe_accuracy: float
    suspects: tuple[int, ...]


def score_labels(
    features: npt.NDArray[np.float32], labels: npt.NDArray[np.int32], classes: int, folds: int, seed: int
) -> LabelScores:
    """Ask a logistic regression on frozen features for every label, each time one that was trained on other pictures.

    How many labels are suspects is confident learning's estimate (Northcutt et al., 2021); it is the least probable
    ones that are. Near duplicates may lie in different folds: to keep them together changed nothing on CIFAR-10, and
    where whole classes hang together through pictures that are much alike, as digits do, nothing could be judged.
    """
    if len(np.unique(labels)) < 2:
        return LabelScores(np.ones(len(labels), np.float32), labels, float("nan"), ())
    found = _probabilities(features, labels, classes, folds, seed)
    quality = get_label_quality_scores(labels, found, method="self_confidence")
    worst = find_label_issues(
        labels, found, filter_by="low_self_confidence", return_indices_ranked_by="self_confidence", n_jobs=1
    )
    suggested = found.argmax(axis=1).astype(np.int32)
    suspects = tuple(int(row) for row in worst if suggested[row] != labels[row])
    return LabelScores(quality.astype(np.float32), suggested, float(np.mean(suggested == labels)), suspects)


def _probabilities(
    features: npt.NDArray[np.float32], labels: npt.NDArray[np.int32], classes: int, folds: int, seed: int
) -> npt.NDArray[np.float64]:
    """Probabilities float64 (N, classes), each from a fold that its picture was not in.

    As scikit-learn's cross_val_predict, which has no bar. A picture whose class all other folds lack cannot be judged:
    its label is taken to be right.
    """
    found = np.zeros((len(labels), classes))
    most = min(folds, int(np.bincount(labels).max()))
    if most < 2:
        return np.eye(classes)[labels]
    split = StratifiedKFold(most, shuffle=True, random_state=seed)
    with progress("looking for wrong labels", most) as steps, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer pictures than folds
        for train, test in split.split(features, labels):
            present = np.unique(labels[train])
            if len(present) > 1:
                probe = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARIZATION_C, max_iter=300))
                found[np.ix_(test, present)] = probe.fit(features[train], labels[train]).predict_proba(features[test])
            alone = test if len(present) < 2 else test[~np.isin(labels[test], present)]
            found[alone] = np.eye(classes)[labels[alone]]
            steps.advance()
    return found

"""Whether features of lower precision rank candidates as float32 features do, beside what another seed changes."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.explore import near_duplicates
from thaw.explore.label_errors import score_labels
from thaw_lab.precision_study.fit_records import FitRecord, FitStudy
from thaw_lab.precision_study.paired_statistics import rank_correlations
from thaw_lab.precision_study.study_features import PRECISIONS, FeatureStore, StudyNetwork
from thaw_lab.precision_study.study_heads import Head
from thaw_lab.precision_study.study_images import StudyImages
from thaw_lab.tables import markdown_table

SEEDS = (0, 1, 2)
SWEEP_REGULARIZATION = (1e-4, 1e-3, 1e-2, 1e-1)
SIMILARITY = 0.85  # of near duplicates, the default of explore
Candidate = tuple[StudyNetwork, Head]


def candidates(networks: list[StudyNetwork]) -> list[Candidate]:
    """Return what a sweep of probes would try: every network with every regularization."""
    heads = [Head(hidden=None, regularization=(c,)) for c in SWEEP_REGULARIZATION]
    return list(itertools.product(networks, heads))


def ranking(study: FitStudy, candidates: list[Candidate], data: list[StudyImages]) -> None:
    """Print rank correlations of validation accuracies, and what the winner costs on the test images."""
    for images in data:
        fits = {
            (p, seed): [study.fit(images, network, p, head, seed) for network, head in candidates]
            for seed in SEEDS
            for p in PRECISIONS
        }
        rows = [_agreement(p, f"float32 of the same seed, {p}", fits, images, same_seed=True) for p in PRECISIONS[1:]]
        rows += [_agreement(p, f"float32 of another seed, {p}", fits, images, same_seed=False) for p in PRECISIONS]
        columns = ("compared", "Spearman", "Kendall", "same winner", "regret on test, points", "winners' rank")
        print(f"{images.name}, {len(candidates)} candidates:\n{markdown_table(columns, rows)}", flush=True)


def _agreement(
    precision: str, name: str, fits: dict[tuple[str, int], list[FitRecord]], images: StudyImages, *, same_seed: bool
) -> list[str]:
    """Return a row. The candidate that precision P prefers is trained on float32 features of the reference's seed."""
    pairs = [(seed, other) for seed, other in itertools.product(SEEDS, SEEDS) if (seed == other) == same_seed]
    correlations, regrets, ranks, same = [], [], [], 0
    for seed, other in pairs:
        reference, searched = fits["float32", seed], fits[precision, other]
        correlations.append(rank_correlations(*([f.validation_accuracy for f in x] for x in (reference, searched))))
        best, chosen = winner(reference), winner(searched)
        test = images.labels[images.split(seed)[2]]
        accuracy = [float(np.mean(np.array(fit.own) == test)) for fit in reference]
        regrets.append(100 * (accuracy[best] - accuracy[chosen]))
        ranks.append(1 + sum(f.validation_accuracy > reference[chosen].validation_accuracy for f in reference))
        same += best == chosen
    rho, tau = np.mean(correlations, axis=0)
    regret = f"{np.mean(regrets):+.2f} (worst {max(regrets):+.2f})"
    return [name, f"{rho:.3f}", f"{tau:.3f}", f"{same} of {len(pairs)}", regret, ", ".join(map(str, ranks))]


def winner(fits: list[FitRecord]) -> int:
    """Return the position of the best validation accuracy; of equal ones that of the smallest loss."""
    return max(range(len(fits)), key=lambda i: (fits[i].validation_accuracy, -fits[i].validation_loss))


def explore_rankings(store: FeatureStore, network: StudyNetwork, data: list[StudyImages]) -> None:
    """Print how explore's rankings agree: suspicious labels, outliers, near duplicates, and blocks by a probe."""
    columns = ("data", "compared with float32", "probe", "label quality", "suspects", "outliers", "pairs", "blocks")
    for images in data:
        features = {p: x[0] for p, x in store.features(network, images).items()}
        blocks = store.features(network, images, "blocks")
        reference = _explored(features["float32"], blocks["float32"], images, 0)
        rows = [_explore_row(images, "itself", reference, reference)]
        for name, x, seed in (("bfloat16", "bfloat16", 0), ("int8", "int8", 0), ("another seed", "float32", 1)):
            explored = _explored(features[x], blocks[x], images, seed)
            rows.append(_explore_row(images, name, explored, reference))
        print(markdown_table(columns, rows), flush=True)


@dataclass(frozen=True)
class _Explored:
    probe: float  # accuracy over the folds
    quality: npt.NDArray[np.float32]  # (N,), of labels
    suspects: set[int]
    outliers: npt.NDArray[np.float32]  # (N,)
    pairs: set[tuple[int, int]]  # of similar images
    block_probes: list[float]


def _explored(
    features: npt.NDArray[np.float32], blocks: list[npt.NDArray[np.float32]], images: StudyImages, seed: int
) -> _Explored:
    labels = images.labels.astype(np.int32)
    classes = int(labels.max()) + 1
    scores = score_labels(features, labels, classes, 5, seed)
    neighbors = near_duplicates.find_neighbors(features, np.arange(len(labels)))
    close = np.argwhere(neighbors.cosines >= SIMILARITY)
    ends = [(a, int(neighbors.indices[a, k])) for a, k in close.tolist()]
    return _Explored(
        probe=scores.probe_accuracy,
        quality=scores.quality,
        suspects=set(scores.suspects),
        outliers=near_duplicates.outlier_scores(neighbors),
        pairs={(min(pair), max(pair)) for pair in ends},
        block_probes=[score_labels(block, labels, classes, 5, seed).probe_accuracy for block in blocks],
    )


def _explore_row(images: StudyImages, name: str, explored: _Explored, reference: _Explored) -> list[str]:
    def overlap(first: set[Any], second: set[Any]) -> str:
        return f"{len(first & second)} of {len(first)} / {len(second)}"

    blocks = rank_correlations(explored.block_probes, reference.block_probes)[0]
    best = [int(np.argmax(x.block_probes)) for x in (explored, reference)]
    return [
        images.name,
        name,
        f"{explored.probe:.4f}",
        f"{rank_correlations(explored.quality, reference.quality)[0]:.3f}",
        overlap(explored.suspects, reference.suspects),
        f"{rank_correlations(explored.outliers, reference.outliers)[0]:.3f}",
        overlap(explored.pairs, reference.pairs),
        f"{blocks:.3f}, best {best[0]} / {best[1]}",
    ]

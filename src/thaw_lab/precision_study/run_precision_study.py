"""`python -m thaw_lab.precision_study.run_precision_study FOLDER PART`: accuracy by precision of the features.

FOLDER has the data sets in `images/` (see study_images.SOURCES); features and fits are kept beside them, so that a
stopped study goes on. NNCF must be installed. PART is accuracy, ranking or explore.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thaw_lab.precision_study import study_ranking
from thaw_lab.precision_study.fit_records import RESEEDED, FitRecord, FitStudy
from thaw_lab.precision_study.paired_statistics import mcnemar, paired_difference
from thaw_lab.precision_study.study_features import PRECISIONS, FeatureStore, StudyNetwork, study_networks
from thaw_lab.precision_study.study_heads import Head
from thaw_lab.precision_study.study_images import SOURCES, StudyImages, load_study_images
from thaw_lab.tables import markdown_table

LOGISTIC, DENSE = Head(hidden=None), Head()


def main() -> None:
    """Run a part of the study and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("part", choices=("accuracy", "ranking", "explore"))
    parser.add_argument("--mobilenet", required=True, help="Keras's MobileNet weights, alpha 0.25, 224 px, no top")
    parser.add_argument("--networks", default="0,1,2,3", help="of lite0, mobilenet, lite1, lite2, lite0@160")
    parser.add_argument("--data", default=",".join(SOURCES))
    parser.add_argument("--heads", default="logistic,dense", help="of part accuracy")
    options = parser.parse_args()
    networks = study_networks(options.mobilenet)
    data = [load_study_images(name, options.folder / "images") for name in options.data.split(",")]
    store = FeatureStore(options.folder / "features")
    study = FitStudy(store, options.folder / "fits.jsonl")
    chosen = [networks[int(i)] for i in options.networks.split(",")]
    if options.part == "accuracy":
        for name in options.heads.split(","):
            _accuracy(study, chosen, data, {"logistic": LOGISTIC, "dense": DENSE}[name])
    elif options.part == "ranking":
        study_ranking.ranking(study, study_ranking.candidates(chosen), data)
    else:
        study_ranking.explore_rankings(store, networks[0], data)


def _table(rows: list[dict[str, str]]) -> str:
    return markdown_table(list(rows[0]), [list(row.values()) for row in rows])


def seeds(images: StudyImages) -> range:
    """Return the seeds of a data set: with five, data without a test set is tested once as a whole."""
    return range(5 if images.is_test is None else 3)


def _accuracy(study: FitStudy, networks: list[StudyNetwork], data: list[StudyImages], head: Head) -> None:
    rows: list[dict[str, str]] = []
    precisions = PRECISIONS if head == LOGISTIC else (*PRECISIONS, RESEEDED)  # logistic regression has no seed
    compared = [(p, judged) for p in precisions[1:] for judged in ("own", "by_float32")]
    pooled: dict[tuple[str, str], list[npt.NDArray[np.float64]]] = {key: [] for key in compared}
    for network in networks:
        for images in data:
            fits = {p: [study.fit(images, network, p, head, s) for s in seeds(images)] for p in precisions}
            for precision in precisions:
                rows.append(_row(images, fits[precision], fits["float32"]))
            for precision, judged in pooled:
                pooled[precision, judged].append(differences(images, fits[precision], fits["float32"], judged))
            print(_table(rows[-len(precisions) :]), flush=True)
    print(f"{head.label}:\n{_table(rows)}")
    for (precision, judged), values in pooled.items():
        print(f"{head.label}, all networks and data sets: {precision}, {judged}: {paired_difference(values)}")


def differences(
    images: StudyImages, fits: list[FitRecord], reference: list[FitRecord], judged: str
) -> npt.NDArray[np.float64]:
    """Return, for each tested image, right less right in the reference (float32), the mean over seeds."""
    total, count = np.zeros(len(images.labels)), np.zeros(len(images.labels))
    for fit, other in zip(fits, reference, strict=True):
        test = images.split(fit.seed)[2]
        truth = images.labels[test]
        total[test] += (np.array(getattr(fit, judged)) == truth).astype(float) - (np.array(other.own) == truth)
        count[test] += 1
    return total[count > 0] / count[count > 0]


def _row(images: StudyImages, fits: list[FitRecord], reference: list[FitRecord]) -> dict[str, str]:
    truths = [images.labels[images.split(fit.seed)[2]] for fit in fits]

    def accuracies(judged: str) -> npt.NDArray[np.float64]:
        return np.array([np.mean(np.array(getattr(f, judged)) == t) for f, t in zip(fits, truths, strict=True)])

    own, by_float32 = accuracies("own"), accuracies("by_float32")
    right = [np.concatenate([np.array(f.own) == t for f, t in zip(x, truths, strict=True)]) for x in (fits, reference)]
    if images.is_test is not None:  # seeds share their test images: one seed is a fair sample
        right = [x[: len(truths[0])] for x in right]
    lost, won, p = mcnemar(right[1], right[0])
    changed = sum(int((np.array(f.own) != np.array(f.by_float32)).sum()) for f in fits)
    row = {
        "network": fits[0].network, "data": images.name, "features": fits[0].precision,
        "test": f"{own.mean():.4f} ± {own.std(ddof=1):.4f}", "on float32": f"{by_float32.mean():.4f}",
        "difference": "", "on float32, difference": "", "lost/won (p)": "",
        "class differs": f"{changed} of {sum(map(len, truths))}",
        "parity": str(sum(f.parity for f in fits)),
    }  # fmt: skip
    if fits[0].precision != "float32":
        row["difference"] = str(paired_difference([differences(images, fits, reference, "own")]))
        row["on float32, difference"] = str(paired_difference([differences(images, fits, reference, "by_float32")]))
        row["lost/won (p)"] = f"{lost}/{won} ({p:.2f})"
    return row


if __name__ == "__main__":
    main()

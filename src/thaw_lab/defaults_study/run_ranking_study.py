"""`python -m thaw_lab.defaults_study.run_ranking_study FOLDER`: does advise rank networks as fine-tuning does?

FOLDER has the data sets (see study_data). Networks at several sides are ranked by what advise finds of their frozen
features, by that with the accuracy on ImageNet as advise ranks them, and by the test accuracy of real fine-tunings.
What is recorded in FOLDER is not computed again.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from thaw.advice.depths import transfer_score
from thaw.common.console import say
from thaw.config.schema import BackboneConfig
from thaw.models.imagenet_accuracy import imagenet_accuracy
from thaw_lab.defaults_study.run_defaults_study import run_missing
from thaw_lab.defaults_study.study_data import data_sets
from thaw_lab.defaults_study.study_records import read_records
from thaw_lab.tables import markdown_table

ROOT = Path(__file__).resolve().parents[3]
SIDES = {"efficientnet_lite0": (96, 128, 160, 224), "efficientnet_lite1": (128, 192), "efficientnet_lite2": (160,)}
MOBILENET, MOBILENET_SIDES = "backbone=mobilenet backbone.alpha=0.25", (128, 224)
_RESAMPLES = 2000


@dataclass(frozen=True)
class Candidate:
    """A network at one side of its input; imagenet: the published accuracy of its weights."""

    name: str
    arguments: tuple[str, ...]
    imagenet: float | None


@dataclass(frozen=True)
class Ranked:
    """A candidate with the accuracy of its features, the score by which advise ranks it, and its test accuracy."""

    candidate: Candidate
    features: float
    score: float
    fine_tuned: float


def main() -> None:
    """Run what is missing, and print the rankings and their correlations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", default="clothing,cifar10-500")
    parser.add_argument("--per-class", type=int, default=100, help="images of a class in each split")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--mobilenet", help="Keras's file of MobileNet with alpha 0.25, without its top, compared too")
    options = parser.parse_args()
    sets = data_sets(options.folder.absolute())
    for data in options.data.split(","):
        limited = [*sets[data], f"dataset.limit_per_class={options.per_class}"]
        compare(options.folder, data, limited, candidates(options.mobilenet), list(map(int, options.seeds.split(","))))


def candidates(mobilenet: str | None) -> list[Candidate]:
    """Return the networks that are compared; mobilenet: a weights file, or None to leave it out."""
    found = [
        Candidate(
            f"{backbone.removeprefix('efficientnet_').capitalize()}, {side} px",
            (f"backbone={backbone}", f"backbone.image_size={side}"),
            imagenet_accuracy(BackboneConfig(name=backbone, weights="imagenet")),
        )
        for backbone, sides in SIDES.items()
        for side in sides
    ]
    published = imagenet_accuracy(BackboneConfig(name="mobilenet", weights="imagenet", alpha=0.25))
    for side in MOBILENET_SIDES if mobilenet else ():
        arguments = (*MOBILENET.split(), f"backbone.weights={mobilenet}", f"backbone.image_size={side}")
        found.append(Candidate(f"MobileNet 0.25, {side} px", arguments, published))
    return found


def compare(folder: Path, data: str, overrides: list[str], networks: Sequence[Candidate], seeds: Sequence[int]) -> None:
    """Print, for one data set, each network's figures by advise and by fine-tuning, and Spearman's correlations."""
    file = folder / "ranking.jsonl"
    rows: list[Ranked] = []
    for network in networks:
        arguments = [*overrides, *network.arguments]
        for seed in seeds:
            run_missing(file, data, network.name, arguments, seed)
        tests = [r.test for r in read_records(file) if (r.data, r.overrides) == (data, " ".join(arguments))]
        slug = network.name.replace(", ", "-").replace(" ", "-")
        features = advised_accuracy(folder / "advice" / data / slug, arguments)
        rows.append(Ranked(network, features, transfer_score(features, network.imagenet), statistics.fmean(tests)))
        say(f"{data} · {network.name} · frozen features {features:.4f} · fine-tuned {rows[-1].fine_tuned:.4f}")
    rows.sort(key=lambda row: -row.score)
    cells = [
        [
            row.candidate.name,
            f"{row.features:.3f}",
            f"{row.candidate.imagenet:.3f}",
            f"{row.score:.2f}",
            f"{row.fine_tuned:.3f}",
        ]
        for row in rows
    ]
    print(markdown_table(["network", "frozen features", "ImageNet", "score", "fine-tuned"], cells))
    fine_tuned = [row.fine_tuned for row in rows]
    for name, ranks in (("features", [row.features for row in rows]), ("score", [row.score for row in rows])):
        correlation, low, high = correlation_with_interval(ranks, fine_tuned)
        interval = f"95 % interval {low:.2f} to {high:.2f} over {len(rows)} networks"
        print(f"{data}, {name}: Spearman {correlation:.2f} ({interval})")


def advised_accuracy(folder: Path, arguments: list[str]) -> float:
    """Return the cross-validated accuracy of frozen features that advise finds; it runs if it has not yet."""
    file = folder / "advise.json"
    if not file.exists():
        command = [sys.executable, str(ROOT / "scripts" / "advise.py"), *arguments, f"output={folder}"]
        subprocess.run(command, cwd=ROOT, check=True)
    (network,) = json.loads(file.read_text(encoding="utf-8"))["networks"]
    return float(network["depths"][-1]["accuracy"])


def correlation_with_interval(first: list[float], second: list[float]) -> tuple[float, float, float]:
    """Return Spearman's correlation and its 95 % interval, by a bootstrap over the pairs."""
    rng, pairs = np.random.default_rng(0), np.array([first, second])
    drawn = [pairs[:, rng.integers(0, len(first), len(first))] for _ in range(_RESAMPLES)]
    found = [spearmanr(*pair).statistic for pair in drawn if min(len(set(row)) for row in pair.tolist()) > 1]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(spearmanr(first, second).statistic), float(low), float(high)


if __name__ == "__main__":
    main()

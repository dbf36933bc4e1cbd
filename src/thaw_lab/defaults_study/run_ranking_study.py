"""`python -m thaw_lab.defaults_study.run_ranking_study FOLDER`: does advise rank networks as fine-tuning does?

FOLDER has the data sets (see study_data). Networks at several sides are ranked by what advise says of their frozen
features, and by the test accuracy of real fine-tunings. What is recorded in FOLDER is not computed again.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from thaw.common.console import say
from thaw_lab.defaults_study.run_defaults_study import run_missing
from thaw_lab.defaults_study.study_data import data_sets
from thaw_lab.defaults_study.study_records import read_records
from thaw_lab.tables import markdown_table

ROOT = Path(__file__).resolve().parents[3]
NETWORKS = {
    **{f"Lite0, {side} px": f"backbone=efficientnet_lite0 backbone.image_size={side}" for side in (96, 128, 160, 224)},
    **{f"Lite1, {side} px": f"backbone=efficientnet_lite1 backbone.image_size={side}" for side in (128, 192)},
    "Lite2, 160 px": "backbone=efficientnet_lite2 backbone.image_size=160",
}
MOBILENET = "backbone=mobilenet backbone.alpha=0.25"
_RESAMPLES = 2000


def main() -> None:
    """Run what is missing, and print both rankings and their correlation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", default="clothing,cifar10-500")
    parser.add_argument("--per-class", type=int, default=100, help="images of a class in each split")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--mobilenet", help="file of MobileNet's weights with alpha 0.25, which is compared too")
    options = parser.parse_args()
    networks = dict(NETWORKS)
    if options.mobilenet:
        for side in (128, 224):
            arguments = f"{MOBILENET} backbone.weights={options.mobilenet} backbone.image_size={side}"
            networks[f"MobileNet 0.25, {side} px"] = arguments
    sets = data_sets(options.folder.absolute())
    for data in options.data.split(","):
        limited = [*sets[data], f"dataset.limit_per_class={options.per_class}"]
        seeds = list(map(int, options.seeds.split(",")))
        compare(options.folder, data, limited, networks, seeds)


def compare(folder: Path, data: str, overrides: list[str], networks: dict[str, str], seeds: Sequence[int]) -> None:
    """Print, for one data set, each network's accuracy by advise and by fine-tuning, and Spearman's correlation."""
    file, rows = folder / "ranking.jsonl", []
    for name, network in networks.items():
        arguments = [*overrides, *network.split()]
        for seed in seeds:
            run_missing(file, data, name, arguments, seed)
        tests = [r.test for r in read_records(file) if (r.data, r.overrides) == (data, " ".join(arguments))]
        advised = advised_accuracy(folder / "advice" / data / name.replace(", ", "-").replace(" ", "-"), arguments)
        rows.append((name, advised, statistics.fmean(tests)))
        say(f"{data} · {name} · frozen features {advised:.4f} · fine-tuned {rows[-1][2]:.4f}")
    rows.sort(key=lambda row: -row[1])
    print(markdown_table(["network", "advise", "fine-tuned"], [[n, f"{a:.3f}", f"{t:.3f}"] for n, a, t in rows]))
    correlation, low, high = correlation_with_interval([row[1] for row in rows], [row[2] for row in rows])
    print(f"{data}: Spearman {correlation:.2f} (95 % interval {low:.2f} to {high:.2f} over {len(rows)} networks)")


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

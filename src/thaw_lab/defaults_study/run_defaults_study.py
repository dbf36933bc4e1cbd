"""`python -m thaw_lab.defaults_study.run_defaults_study FOLDER CANDIDATES`: what recipes reach on several data sets.

FOLDER has the data sets (see study_data); CANDIDATES is a YAML file of overrides by name. Runs that are recorded in
FOLDER/records.jsonl are not repeated. Each candidate is chosen by validation accuracy and reported by test accuracy.
"""

import argparse
from pathlib import Path

import yaml

import thaw
from thaw.common.console import say
from thaw_lab.defaults_study.study_data import data_sets
from thaw_lab.defaults_study.study_records import StudyRecord, append_record, read_records, table
from thaw_lab.tables import markdown_table

_SHARED = ["report=none", "tracking.complete=none", "tracking.experiment=defaults"]


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("candidates", type=Path)
    parser.add_argument("--data", help="names, with commas; default: all")
    parser.add_argument("--seeds", default="0,1,2")
    options = parser.parse_args()
    sets = data_sets(options.folder.absolute())
    chosen = options.data.split(",") if options.data else list(sets)
    candidates = yaml.safe_load(options.candidates.read_text(encoding="utf-8"))
    file = options.folder / "records.jsonl"
    for seed in map(int, options.seeds.split(",")):
        for name in chosen:
            for candidate, overrides in candidates.items():
                run_missing(file, name, candidate, [*sets[name], *overrides.split()], seed)
    records = [record for record in read_records(file) if record.candidate in candidates]
    columns = ["candidate", *chosen, "rank", "seconds"]
    print(markdown_table(columns, table(records, list(candidates), chosen)))


def run_missing(file: Path, data: str, candidate: str, overrides: list[str], seed: int) -> None:
    """Train what has no record in a file, and record it there."""
    key = data, " ".join(overrides), seed
    if key in {record.key for record in read_records(file)}:
        return
    result = thaw.train([*_SHARED, *overrides, f"seed={seed}"])
    seconds, metrics = result.seconds, result.metrics
    accuracies = metrics["val/accuracy"], metrics["test/accuracy"]
    append_record(file, StudyRecord(data, candidate, key[1], seed, *accuracies, seconds["train"], seconds["total"]))
    say(f"{data} · {candidate} · seed {seed} · val {accuracies[0]:.4f} · test {accuracies[1]:.4f}")


if __name__ == "__main__":
    main()

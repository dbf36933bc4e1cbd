"""Today's data against a run's manifest, file by file."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from thaw.common.csv_text import spreadsheet_text

DIFFERENCE_COLUMNS = ("path", "what", "before", "now")
# What may have become of a file, in the order in which it is told: what somebody did, then what followed for others.
DIFFERENCE_KINDS = (
    "changed",  # another content
    "missing",
    "moved",  # another path, the same content
    "new",
    "class",  # another class
    "verdict",  # can be used no longer, or again, or is bad in another way
    "unused",  # is there, and the run's limit_per_class now leaves it out
    "split",  # in another split
)


@dataclass(frozen=True)
class FileDifference:
    """A file of which something differs. what: one of KINDS; before, now: hash, path, class, split or verdict."""

    path: str
    kind: str
    before: str = ""
    now: str = ""

    def line(self) -> str:
        """Say it on one line, hashes cut to 12 characters."""
        if not self.before and not self.now:
            return f"{self.kind} {self.path}"
        if self.kind == "moved":
            return f"moved {self.before} to {self.now}"
        cut = 12 if self.kind == "changed" else None
        return f"{self.kind} {self.path}: {self.before[:cut]} in the run, {self.now[:cut]} now"


def compare_manifests(
    before: Iterable[Mapping[str, str]], now: Iterable[Mapping[str, str]], present_paths: Collection[str]
) -> list[FileDifference]:
    """Compare two manifests, as rows of `manifest.COLUMNS`; in the order of KINDS, then of paths.

    there: paths of all files of today's data set, used or not: with `limit_per_class` a file may be there and not used.
    """
    old, new = {row["path"]: row for row in before}, {row["path"]: row for row in now}
    found: list[FileDifference] = []
    gone = [path for path in old if path not in new]
    come: dict[str, list[str]] = defaultdict(list)
    for path in new:
        if path not in old:
            come[new[path]["sha256"]].append(path)
    for path in gone:
        same = come[old[path]["sha256"]]
        if path in present_paths:
            found.append(FileDifference(path, "unused"))
        elif same:
            found.append(FileDifference(path, "moved", path, same.pop(0)))
        else:
            found.append(FileDifference(path, "missing"))
    found += [FileDifference(path, "new") for paths in come.values() for path in paths]
    for path in old.keys() & new.keys():
        found += _of_one(path, old[path], new[path])
    return sorted(found, key=lambda entry: (DIFFERENCE_KINDS.index(entry.kind), entry.path))


def count_by_kind(found: Iterable[FileDifference]) -> dict[str, int]:
    """How many of each kind, those that there are."""
    counts = Counter(entry.kind for entry in found)
    return {kind: counts[kind] for kind in DIFFERENCE_KINDS if counts[kind]}


def differences_csv(found: Iterable[FileDifference]) -> str:
    """Return all as CSV; write it with `encoding="utf-8", errors="surrogateescape", newline=""`."""
    return spreadsheet_text(DIFFERENCE_COLUMNS, ((entry.path, entry.kind, entry.before, entry.now) for entry in found))


def _of_one(path: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[FileDifference]:
    if old["sha256"] != new["sha256"]:
        yield FileDifference(path, "changed", old["sha256"], new["sha256"])
    if old["label"] != new["label"]:
        yield FileDifference(path, "class", old["label"], new["label"])
    if old["verdict"] != new["verdict"]:
        yield FileDifference(path, "verdict", old["verdict"], new["verdict"])
    elif old["split"] != new["split"]:  # bad ones have none
        yield FileDifference(path, "split", old["split"], new["split"])

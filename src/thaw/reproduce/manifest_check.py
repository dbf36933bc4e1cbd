"""Comparison of today's data with a run's manifest, file by file."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from thaw.common.csv_text import spreadsheet_text

DIFFERENCE_COLUMNS = ("path", "what", "before", "now")
# In the order of the report: what somebody did to files, then what followed for others.
DIFFERENCE_KINDS = (
    "changed",  # other content
    "missing",
    "moved",  # same content at another path
    "new",
    "class",  # another class
    "verdict",  # became bad, became usable, or is bad for another reason
    "unused",  # is still there, and left out by limit_per_class
    "split",  # in another split
)


@dataclass(frozen=True)
class FileDifference:
    """A difference of one file. kind: one of DIFFERENCE_KINDS. before, now: hash, path, class, split or verdict."""

    path: str
    kind: str
    before: str = ""
    now: str = ""

    def line(self) -> str:
        """Return the difference as one line, hashes cut to 12 characters."""
        if not self.before and not self.now:
            return f"{self.kind} {self.path}"
        if self.kind == "moved":
            return f"moved {self.before} to {self.now}"
        length = 12 if self.kind == "changed" else None
        return f"{self.kind} {self.path}: {self.before[:length]} in the run, {self.now[:length]} now"


def compare_manifests(
    before: Iterable[Mapping[str, str]], now: Iterable[Mapping[str, str]], present_paths: Collection[str]
) -> list[FileDifference]:
    """Return what differs between two manifests, in the order of DIFFERENCE_KINDS, then of paths.

    Args:
        before: The run's rows, with the columns `manifest.COLUMNS`.
        now: Today's rows.
        present_paths: All files of today's data set; `limit_per_class` may leave some out of the manifest.
    """
    old, new = {row["path"]: row for row in before}, {row["path"]: row for row in now}
    differences: list[FileDifference] = []
    new_paths: dict[str, list[str]] = defaultdict(list)  # by content
    for path in (path for path in new if path not in old):
        new_paths[new[path]["sha256"]].append(path)
    for path in (path for path in old if path not in new):
        same_content = new_paths[old[path]["sha256"]]
        if path in present_paths:
            differences.append(FileDifference(path, "unused"))
        elif same_content:
            differences.append(FileDifference(path, "moved", path, same_content.pop(0)))
        else:
            differences.append(FileDifference(path, "missing"))
    differences += [FileDifference(path, "new") for paths in new_paths.values() for path in paths]
    for path in old.keys() & new.keys():
        differences += _row_differences(path, old[path], new[path])
    return sorted(differences, key=lambda difference: (DIFFERENCE_KINDS.index(difference.kind), difference.path))


def count_by_kind(differences: Iterable[FileDifference]) -> dict[str, int]:
    """Return the number of differences of each kind that occurs."""
    counts = Counter(difference.kind for difference in differences)
    return {kind: counts[kind] for kind in DIFFERENCE_KINDS if counts[kind]}


def differences_csv(differences: Iterable[FileDifference]) -> str:
    """Return all as CSV; write it with `encoding="utf-8", errors="surrogateescape", newline=""`."""
    return spreadsheet_text(DIFFERENCE_COLUMNS, ((d.path, d.kind, d.before, d.now) for d in differences))


def _row_differences(path: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[FileDifference]:
    if old["sha256"] != new["sha256"]:
        yield FileDifference(path, "changed", old["sha256"], new["sha256"])
    if old["label"] != new["label"]:
        yield FileDifference(path, "class", old["label"], new["label"])
    if old["verdict"] != new["verdict"]:
        yield FileDifference(path, "verdict", old["verdict"], new["verdict"])
    elif old["split"] != new["split"]:  # bad files have no split
        yield FileDifference(path, "split", old["split"], new["split"])

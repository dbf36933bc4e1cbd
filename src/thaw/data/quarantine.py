"""What is done about files that cannot be used: said, listed and, if so asked, left out. They are never touched."""

from collections import Counter
from collections.abc import Mapping

from thaw.common.console import printable
from thaw.common.csv_text import sheet_text
from thaw.common.errors import UserError
from thaw.data import bit_depth
from thaw.data.scan import Scanned

SHOWN = 20  # bad files that are printed; the rest is in the list
LIST = "bad_files.csv"
COLUMNS = ("path", "kind", "reason")


def text(found: Scanned) -> str:
    """Return the list of bad files as CSV: `COLUMNS`, the path relative to the dataset's folder.

    Write it with `encoding="utf-8", errors="surrogateescape", newline=""`, as the manifest.
    """
    return sheet_text(COLUMNS, ((bad.name, bad.kind, bad.reason) for bad in found.bad))


def remarks(found: Scanned, bits: int | None = None) -> list[str]:
    """Return what people should know of the data besides its bad files: how it was read, what was ignored.

    bits: dataset.bits; where it is given, pictures that use few of their 16 bits are meant.
    """
    several = Counter(
        "animations" if note.endswith("frames") else "files of several pictures" for note in found.notes if note
    )
    lines = [f"ignored: {by_count(found.catalog.ignored)}"] if found.catalog.ignored else []
    lines += [f"only the first picture is taken of: {by_count(several)}"] if several else []
    shallow = bit_depth.remark(found.highest) if bits is None else ""
    return [*map(printable, found.catalog.remarks), *lines, *([shallow] if shallow else [])]


def judge(found: Scanned, on_bad: str, max_fraction: float, where: str) -> str:
    """Return what is to be said of bad files that are left out.

    `where` is the list's place, which is named. Raises UserError with on_bad=stop, and when more than `max_fraction` of
    all files are bad: so many are no accident, and what is left may not be what was meant.
    """
    total = len(found.catalog) + len(found.bad)
    too_many = len(found.bad) > max_fraction * total
    allow = f"dataset.max_bad_fraction={_enough(len(found.bad), total)}"
    if on_bad == "stop":
        raise UserError(refusal(found, where, f" {allow}" if too_many else ""))
    if too_many:
        raise UserError(
            f"{_head(found)}, more than dataset.max_bad_fraction={max_fraction:g} allows:\n{_listing(found, where)}\n"
            f"Mend the data, or allow them: {allow}"
        )
    return f"{_head(found)} and are left out:\n{_listing(found, where)}"


def refusal(found: Scanned, where: str = "", allow: str = "") -> str:
    """Return the error that names bad files, when all must be sound; `allow` is what a quarantine needs besides."""
    return (
        f"{_head(found)}:\n{_listing(found, where)}\n"
        f"Repair, replace or remove them and run again, or leave them out with dataset.on_bad=quarantine{allow}; "
        "thaw never changes or deletes your files"
    )


def _head(found: Scanned) -> str:
    return f"{len(found.bad):,} of {len(found.catalog) + len(found.bad):,} images cannot be used"


def _listing(found: Scanned, where: str) -> str:
    """A line a kind with its count, when the list is cut; then the files."""
    lines = [f"  {printable(bad.path)}: {bad.kind}: {bad.reason}" for bad in found.bad[:SHOWN]]
    if len(found.bad) > SHOWN:
        kinds = Counter(bad.kind for bad in found.bad)
        lines.append(f"  and {len(found.bad) - SHOWN} more; in all " + by_count(kinds))
    return "\n".join([*lines, f"  the list: {where}"] if where else lines)


def by_count(counts: Mapping[str, int]) -> str:
    """Return `truncated 3, empty 1`: the most frequent first, equally frequent ones by name."""
    return ", ".join(f"{what} {n:,}" for what, n in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def _enough(bad: int, total: int) -> str:
    """The share as a key's value, rounded up, so that it is enough."""
    return f"{-(-bad * 1000 // total) / 1000:g}"

"""What is done about files that cannot be used: said, listed and, if so asked, left out. They are never touched."""

from collections import Counter
from collections.abc import Mapping

from thaw.common.console import printable
from thaw.common.csv_text import spreadsheet_text
from thaw.common.errors import UserError
from thaw.data import bit_depth
from thaw.data.scan import ScanResult

MAX_LISTED = 20  # bad files that are printed; the rest is in the list
BAD_FILES_CSV = "bad_files.csv"
COLUMNS = ("path", "kind", "reason")


def bad_files_csv(scanned: ScanResult) -> str:
    """Return the list of bad files as CSV: `COLUMNS`, the path relative to the dataset's folder.

    Write it with `encoding="utf-8", errors="surrogateescape", newline=""`, as the manifest.
    """
    return spreadsheet_text(COLUMNS, ((bad.name, bad.kind, bad.reason) for bad in scanned.bad_files))


def data_remarks(scanned: ScanResult, bits: int | None = None) -> list[str]:
    """Return what people should know of the data besides its bad files: how it was read, what was ignored.

    bits: dataset.bits; where it is given, pictures that use few of their 16 bits are meant.
    """
    several = Counter(
        "animations" if note.endswith("frames") else "files of several pictures" for note in scanned.notes if note
    )
    lines = [f"ignored: {format_counts(scanned.catalog.ignored)}"] if scanned.catalog.ignored else []
    lines += [f"only the first picture is taken of: {format_counts(several)}"] if several else []
    shallow = bit_depth.few_bits_warning(scanned.max_values) if bits is None else ""
    return [*map(printable, scanned.catalog.remarks), *lines, *([shallow] if shallow else [])]


def quarantine_or_raise(scanned: ScanResult, on_bad: str, max_fraction: float, list_path: str) -> str:
    """Return what is to be said of bad files that are left out.

    `where` is the list's place, which is named. Raises UserError with on_bad=stop, and when more than `max_fraction` of
    all files are bad: so many are no accident, and what is left may not be what was meant.
    """
    total = len(scanned.catalog) + len(scanned.bad_files)
    too_many = len(scanned.bad_files) > max_fraction * total
    allow = f"dataset.max_bad_fraction={_enough(len(scanned.bad_files), total)}"
    if on_bad == "stop":
        raise UserError(bad_files_error(scanned, list_path, f" {allow}" if too_many else ""))
    if too_many:
        raise UserError(
            f"{_head(scanned)}, more than dataset.max_bad_fraction={max_fraction:g} allows:\n"
            f"{_listing(scanned, list_path)}\n"
            f"Mend the data, or allow them: {allow}"
        )
    return f"{_head(scanned)} and are left out:\n{_listing(scanned, list_path)}"


def bad_files_error(scanned: ScanResult, list_path: str = "", allow: str = "") -> str:
    """Return the error that names bad files, when all must be sound; `allow` is what a quarantine needs besides."""
    return (
        f"{_head(scanned)}:\n{_listing(scanned, list_path)}\n"
        f"Repair, replace or remove them and run again, or leave them out with dataset.on_bad=quarantine{allow}; "
        "thaw never changes or deletes your files"
    )


def _head(found: ScanResult) -> str:
    return f"{len(found.bad_files):,} of {len(found.catalog) + len(found.bad_files):,} images cannot be used"


def _listing(found: ScanResult, where: str) -> str:
    """A line a kind with its count, when the list is cut; then the files."""
    lines = [f"  {printable(bad.path)}: {bad.kind}: {bad.reason}" for bad in found.bad_files[:MAX_LISTED]]
    if len(found.bad_files) > MAX_LISTED:
        kinds = Counter(bad.kind for bad in found.bad_files)
        lines.append(f"  and {len(found.bad_files) - MAX_LISTED} more; in all " + format_counts(kinds))
    return "\n".join([*lines, f"  the list: {where}"] if where else lines)


def format_counts(counts: Mapping[str, int]) -> str:
    """Return `truncated 3, empty 1`: the most frequent first, equally frequent ones by name."""
    return ", ".join(f"{what} {n:,}" for what, n in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def _enough(bad: int, total: int) -> str:
    """The share as a key's value, rounded up, so that it is enough."""
    return f"{-(-bad * 1000 // total) / 1000:g}"

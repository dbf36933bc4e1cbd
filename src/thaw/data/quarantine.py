"""Report files that cannot be used, and leave them out or stop; the files are never touched."""

from collections import Counter
from collections.abc import Mapping

from thaw.common.console import printable
from thaw.common.csv_text import spreadsheet_text
from thaw.common.errors import UserError
from thaw.data import bit_depth
from thaw.data.scan import ScanResult

MAX_LISTED = 20  # bad files that are printed; the CSV lists all
BAD_FILES_CSV = "bad_files.csv"
COLUMNS = ("path", "kind", "reason")


def bad_files_csv(scanned: ScanResult) -> str:
    """Return the bad files as CSV of `COLUMNS`, paths relative to the dataset's folder; write it as the manifest."""
    return spreadsheet_text(COLUMNS, ((bad.name, bad.kind, bad.reason) for bad in scanned.bad_files))


def data_remarks(scanned: ScanResult, bits: int | None = None) -> list[str]:
    """Return lines on how the data were read and what was ignored, besides bad files.

    Args:
        scanned: The data.
        bits: dataset.bits. Where it is set, 16-bit images that use few of their bits cause no warning.
    """
    partly_used = Counter(
        "animations" if note.endswith("frames") else "files of several pictures" for note in scanned.notes if note
    )
    lines = [f"ignored: {_format_counts(scanned.catalog.ignored)}"] if scanned.catalog.ignored else []
    lines += [f"only the first picture is taken of: {_format_counts(partly_used)}"] if partly_used else []
    if bits is None and (warning := bit_depth.few_bits_warning(scanned.max_values)):
        lines.append(warning)
    return [*map(printable, scanned.catalog.remarks), *lines]


def quarantine_or_raise(scanned: ScanResult, on_bad: str, max_fraction: float, list_path: str) -> str:
    """Return the message on bad files that are left out, or raise.

    Args:
        scanned: The data, with at least one bad file.
        on_bad: dataset.on_bad, stop or quarantine.
        max_fraction: dataset.max_bad_fraction.
        list_path: The path of the bad files' CSV, which the message names.

    Raises:
        UserError: `on_bad` is stop, or more than `max_fraction` of all files are bad: so many are no accident, and what
            is left may not be what was meant.
    """
    bad, total = len(scanned.bad_files), len(scanned.catalog) + len(scanned.bad_files)
    too_many = bad > max_fraction * total
    allow = f"dataset.max_bad_fraction={-(-bad * 1000 // total) / 1000:g}"  # rounded up, so that it is enough
    if on_bad == "stop":
        raise UserError(bad_files_error(scanned, list_path, f" {allow}" if too_many else ""))
    if too_many:
        raise UserError(
            f"{_head(scanned)}, more than dataset.max_bad_fraction={max_fraction:g} allows:\n"
            f"{_listing(scanned, list_path)}\nMend the data, or allow them: {allow}"
        )
    return f"{_head(scanned)} and are left out:\n{_listing(scanned, list_path)}"


def bad_files_error(scanned: ScanResult, list_path: str = "", allow: str = "") -> str:
    """Return the error message that lists bad files; `allow` is an override that a quarantine needs too."""
    return (
        f"{_head(scanned)}:\n{_listing(scanned, list_path)}\n"
        f"Repair, replace or remove them and run again, or leave them out with dataset.on_bad=quarantine{allow}; "
        "thaw never changes or deletes your files"
    )


def _head(scanned: ScanResult) -> str:
    bad = len(scanned.bad_files)
    return f"{bad:,} of {len(scanned.catalog) + bad:,} images cannot be used"


def _listing(scanned: ScanResult, list_path: str) -> str:
    """Return a line for each of the first bad files, counts by kind when there are more, and the list's path."""
    bad_files = scanned.bad_files
    lines = [f"  {printable(bad.path)}: {bad.kind}: {bad.reason}" for bad in bad_files[:MAX_LISTED]]
    if len(bad_files) > MAX_LISTED:
        kinds = Counter(bad.kind for bad in bad_files)
        lines.append(f"  and {len(bad_files) - MAX_LISTED} more; in all {_format_counts(kinds)}")
    return "\n".join([*lines, f"  the list: {list_path}"] if list_path else lines)


def _format_counts(counts: Mapping[str, int]) -> str:
    """Return counts as `truncated 3, empty 1`: the most frequent first, equally frequent ones by name."""
    return ", ".join(f"{what} {n:,}" for what, n in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))

"""The folder of an export: it gets its name when it is whole, and replaces only another export."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thaw.common.console import display_path
from thaw.common.errors import UserError

RECORD_FILE = "export.json"


def check_replaceable(folder: Path, run_id: str | None, *, overwrite: bool) -> None:
    """Raise UserError unless a folder is free, empty, or an export: of the same run, or any with `overwrite`."""
    if not folder.exists() or (folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())):
        return
    shown = display_path(folder)
    record = read_record(folder)
    if folder.is_symlink() or record is None:
        raise UserError(f"output={shown} is no export of thaw's (it has no {RECORD_FILE}): choose another output")
    same = run_id is not None and record.get("run_id") == run_id
    if not same and not overwrite:
        raise UserError(
            f"output={shown} holds an export of another network, of run {record.get('run_id')}: choose another output, "
            "or set overwrite=true"
        )


def read_record(folder: Path) -> dict[str, object] | None:
    """Return an export's export.json; None of a folder that is no export."""
    try:
        content = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and content.get("written_by") == "thaw export" else None


@contextmanager
def replaced_whole(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`, which takes its name when the block ends, and its place.

    When the block fails nothing of it is left, and what was there before stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        content = temporary / "new"
        content.mkdir()
        yield content
        if folder.exists():
            folder.rename(temporary / "old")
        content.rename(folder)
    finally:
        if (temporary / "old").exists() and not folder.exists():  # stopped between the two
            (temporary / "old").rename(folder)
        shutil.rmtree(temporary, ignore_errors=True)

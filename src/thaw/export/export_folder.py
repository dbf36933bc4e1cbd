"""The folder of an export: it gets its name when it is whole, and replaces only another export."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thaw.common.console import display_path, printable
from thaw.common.errors import UserError

RECORD_FILE = "export.json"
# What an export has in its folder whose record lists no files, as those before the list was kept.
_UNLISTED = {
    "README.md", "canary", "check.py", "classes.json", RECORD_FILE, "model.bin", "model.keras", "model.onnx",
    "model.tflite", "model.weights.h5", "model.xml", "model_structure.json", "saved_model",
}  # fmt: skip


def check_replaceable(folder: Path, run_id: str | None, *, overwrite: bool) -> None:
    """Raise UserError unless a folder is free, empty, or an export: of the same run, or any with `overwrite`.

    An export is replaced only where nothing but its own files lies in its folder.
    """
    here = Path.cwd()
    if here.is_relative_to(folder.resolve()):
        raise UserError(
            f"output={printable(str(folder))} is the folder that you are in, or one around it, and an export replaces "
            "its folder: choose another output, or start thaw from somewhere else"
        )
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
    strange = _strange_files(folder, record)
    if strange:
        more = f" and {len(strange) - 1:,} more" if len(strange) > 1 else ""
        raise UserError(
            f"output={shown} holds {printable(strange[0])}{more}, which the earlier export did not write and which "
            "would be lost: move it elsewhere, or choose another output"
        )


def written_files(folder: Path) -> list[str]:
    """Return the files of an export's folder, as paths in it, sorted; folders without files are left out."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()
    )


def _strange_files(folder: Path, record: dict[str, object]) -> list[str]:
    """Return the files in an export's folder that it did not write, as paths in it."""
    listed = record.get("files")
    if isinstance(listed, list):
        return [name for name in written_files(folder) if name not in set(listed)]
    return [name for name in written_files(folder) if name.split("/")[0] not in _UNLISTED]


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

    When the block fails nothing of it is left, and what was there before stays, which a UserError then says.
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
    except UserError as error:
        if read_record(folder) is None:
            raise
        raise UserError(f"{error}\nThe earlier export in {display_path(folder)} stays as it was") from error
    finally:
        if (temporary / "old").exists() and not folder.exists():  # stopped between the two
            (temporary / "old").rename(folder)
        shutil.rmtree(temporary, ignore_errors=True)

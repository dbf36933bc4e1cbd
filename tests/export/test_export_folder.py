"""An export gets its name when it is whole, and takes the place of another export only."""

import json
from pathlib import Path

import pytest

from thaw.common.errors import UserError
from thaw.export.export_folder import check_replaceable, replaced_whole


def write(folder: Path, run_id: str) -> None:
    (folder / "export.json").write_text(json.dumps({"written_by": "thaw export", "run_id": run_id}))


def test_nothing_is_left_of_an_export_that_fails(tmp_path: Path) -> None:
    def export() -> None:
        with replaced_whole(tmp_path / "exports" / "onnx") as folder:
            write(folder, "a")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export()
    assert list((tmp_path / "exports").iterdir()) == []


def test_what_was_there_stays_when_its_successor_fails(tmp_path: Path) -> None:
    with replaced_whole(tmp_path / "onnx") as folder:
        write(folder, "a")
        (folder / "old").touch()
    with pytest.raises(UserError), replaced_whole(tmp_path / "onnx") as folder:
        raise UserError("no")
    assert sorted(path.name for path in (tmp_path / "onnx").iterdir()) == ["export.json", "old"]
    assert [path.name for path in tmp_path.iterdir()] == ["onnx"]


def test_a_successor_takes_the_whole_folder(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with replaced_whole(tmp_path / "onnx") as folder:
            (folder / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["onnx", "onnx/new"]


def test_only_an_export_is_replaced_and_another_runs_only_on_request(tmp_path: Path) -> None:
    check_replaceable(tmp_path / "absent", "a", overwrite=False)
    folder = tmp_path / "there"
    folder.mkdir()
    check_replaceable(folder, "a", overwrite=False)
    (folder / "photo.jpg").touch()
    with pytest.raises(UserError, match=r"is no export of thaw's \(it has no export.json\)"):
        check_replaceable(folder, "a", overwrite=True)
    write(folder, "a")
    check_replaceable(folder, "a", overwrite=False)
    with pytest.raises(UserError, match="holds an export of another network, of run a"):
        check_replaceable(folder, "b", overwrite=False)
    with pytest.raises(UserError, match="holds an export of another network"):
        check_replaceable(folder, None, overwrite=False)
    check_replaceable(folder, "b", overwrite=True)


def test_a_file_or_a_link_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(UserError, match="is no export"):
            check_replaceable(tmp_path / name, "a", overwrite=True)

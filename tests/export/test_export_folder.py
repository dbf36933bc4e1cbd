"""An export gets its name when it is whole, and takes the place of another export only."""

import json
from pathlib import Path

import pytest

from thaw.common.errors import UserError
from thaw.export.export_folder import check_replaceable, replaced_whole


def write(folder: Path, run_id: str, **keys: object) -> None:
    (folder / "export.json").write_text(json.dumps({"written_by": "thaw export", "run_id": run_id, **keys}))


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
    with pytest.raises(UserError, match=r"^no\nThe earlier export in .*onnx stays"), replaced_whole(tmp_path / "onnx"):
        raise UserError("no")
    with pytest.raises(UserError, match=r"^no$"), replaced_whole(tmp_path / "absent"):
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
    (folder / "photo.jpg").unlink()
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


@pytest.mark.parametrize("keys", [{}, {"files": ["canary/1.jpg", "model.onnx", "export.json"]}], ids=["old", "listed"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_that_the_export_did_not_write_is_not_lost(tmp_path: Path, keys: dict, overwrite: bool) -> None:
    (tmp_path / "canary").mkdir()
    for name in ("canary/1.jpg", "model.onnx"):
        (tmp_path / name).touch()
    write(tmp_path, "a", **keys)
    check_replaceable(tmp_path, "a", overwrite=overwrite)
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UserError, match=r"holds mine\.txt, which the earlier export did not write"):
        check_replaceable(tmp_path, "a", overwrite=overwrite)


def test_a_file_among_the_pictures_of_an_export_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "canary").mkdir()
    write(tmp_path, "a", files=["export.json"])
    for name in ("a.txt", "b.txt"):
        (tmp_path / "canary" / name).touch()
    with pytest.raises(UserError, match=r"holds canary/a\.txt and 1 more, which"):
        check_replaceable(tmp_path, "a", overwrite=True)


@pytest.mark.parametrize("output", [".", "..", "../../here"])
def test_the_folder_one_is_in_is_not_replaced(tmp_path: Path, output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here" / "inner").mkdir(parents=True)
    write(tmp_path / "here", "a")
    monkeypatch.chdir(tmp_path / "here" / "inner")
    with pytest.raises(UserError, match="is the folder that you are in, or one around it"):
        check_replaceable(Path(output).absolute(), "a", overwrite=True)

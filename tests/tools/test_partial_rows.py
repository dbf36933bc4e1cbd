"""Rows that are written a group at a time, and go on where an interruption left them."""

import json
from pathlib import Path

import numpy as np
import pytest

from thaw.common.errors import UserError
from thaw.tools.partial_rows import PartialRows

IDENTITY = {"network": ["ab", "cd"], "layer": ["caf\udce9", 2, 3], "list of images": "ef"}
ROWS = np.random.default_rng(0).normal(size=(10, 2, 3)).astype(np.float32)


def write(target: Path, groups: list[slice], identity: dict = IDENTITY, finish: bool = False) -> None:
    with PartialRows(target, identity, (2, 3)) as partial:
        for group in groups:
            partial.add(ROWS[group])
            partial.commit(len(ROWS[group]))
        if finish:
            partial.finish()
            partial.move_to(target)


def test_a_whole_file_is_what_numpy_saves(tmp_path: Path) -> None:
    write(tmp_path / "a.npy", [slice(0, 4), slice(4, 10)], finish=True)
    np.save(tmp_path / "b.npy", ROWS)
    assert np.load(tmp_path / "a.npy").tobytes() == np.load(tmp_path / "b.npy").tobytes()
    assert (tmp_path / "a.npy").stat().st_size == (tmp_path / "b.npy").stat().st_size
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.npy", "b.npy"]


@pytest.mark.parametrize("lost", [b"", ROWS[4:7].tobytes()[:50]], ids=["between groups", "inside a group"])
def test_an_interrupted_file_becomes_the_uninterrupted_one_bit_for_bit(lost: bytes, tmp_path: Path) -> None:
    write(tmp_path / "whole.npy", [slice(0, 4), slice(4, 7), slice(7, 10)], finish=True)
    write(tmp_path / "a.npy", [slice(0, 4)])
    with (tmp_path / "a.npy.part").open("ab") as part:  # rows that were written, but not recorded
        part.write(lost)
    with PartialRows(tmp_path / "a.npy", IDENTITY, (2, 3)) as partial:
        assert (partial.done, partial.rows) == (4, 4)
    write(tmp_path / "a.npy", [slice(4, 7), slice(7, 10)], finish=True)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_files_that_have_no_row_are_remembered(tmp_path: Path) -> None:
    with PartialRows(tmp_path / "a.npy", IDENTITY, (2, 3)) as partial:
        partial.add(ROWS[:2])
        partial.commit(3, [(1, "it ends early", "truncated")])
    with PartialRows(tmp_path / "a.npy", IDENTITY, (2, 3)) as partial:
        assert (partial.done, partial.rows, partial.unreadable) == (3, 2, [(1, "it ends early", "truncated")])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"network": ["ab", "xx"]}, "another network"),
        ({"layer": ["mixed5", 2, 3], "list of images": "xx"}, "another layer, list of images"),
        ({"seed": 1}, "another seed"),
    ],
)
def test_rows_of_something_else_are_not_continued(
    change: dict, named: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    write(tmp_path / "a.npy", [slice(0, 4)])
    write(tmp_path / "a.npy", [slice(0, 10)], {**IDENTITY, **change}, finish=True)
    assert capsys.readouterr().err == f"note: {tmp_path / 'a.npy.part'} has {named}: it is begun anew\n"
    assert np.load(tmp_path / "a.npy").tobytes() == ROWS.tobytes()


@pytest.mark.parametrize("damage", ["no record", "cut", "no json", "other json"])
def test_a_partial_file_that_cannot_be_trusted_is_begun_anew(damage: str, tmp_path: Path) -> None:
    write(tmp_path / "a.npy", [slice(0, 4)])
    part, record = tmp_path / "a.npy.part", tmp_path / "a.npy.part.json"
    if damage == "no record":
        record.unlink()
    elif damage == "cut":
        part.write_bytes(part.read_bytes()[:-1])
    else:
        record.write_text("{" if damage == "no json" else json.dumps({"rows": 4}))
    with PartialRows(tmp_path / "a.npy", IDENTITY, (2, 3)) as partial:
        assert (partial.done, partial.rows, partial.unreadable) == (0, 0, [])


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    with (
        PartialRows(tmp_path / "a.npy", IDENTITY, (2, 3)),
        pytest.raises(UserError, match=r"another process is writing .*a\.npy\.part: wait for it, or end it"),
        PartialRows(tmp_path / "a.npy", IDENTITY, (2, 3)),
    ):
        pass

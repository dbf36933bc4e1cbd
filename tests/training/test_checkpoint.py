"""Checkpoints on disk: whole or not at all, and a damaged one is known by its bytes."""

from pathlib import Path

import numpy as np
import pytest

from thaw.common.errors import UserError
from thaw.training import checkpoint
from thaw.training.checkpoint import Checkpoint, CheckpointDir, CorruptCheckpoint, TrainingProgress


def made(stage: int = 0, epoch: int = 1, step: int = 0) -> Checkpoint:
    arrays = {"weights/0": np.arange(6, dtype=np.float32).reshape(2, 3), "seeds/0": np.array([1, 2**32 - 1], np.uint32)}
    state = {"history": [{"loss": 0.1 + 0.2, "val_loss": 1e-320}], "callbacks": {"EarlyStopping": {"best": None}}}
    return Checkpoint(TrainingProgress(stage, epoch, step), state, {**arrays, "optimizer/0": np.array(3, np.int64)})


def same(a: Checkpoint, b: Checkpoint) -> bool:
    arrays = a.arrays.keys() == b.arrays.keys() and all(
        x.dtype == b.arrays[name].dtype and x.shape == b.arrays[name].shape and x.tobytes() == b.arrays[name].tobytes()
        for name, x in a.arrays.items()
    )
    return arrays and (a.progress, a.state) == (b.progress, b.state)


def test_what_was_saved_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    folder = CheckpointDir(tmp_path / "checkpoints", 2, "run")
    folder.save(made())
    newest = folder.load_newest()
    assert newest is not None
    assert same(newest, made())


def test_the_newest_are_kept_and_the_latest_place_is_the_last(tmp_path: Path) -> None:
    folder = CheckpointDir(tmp_path, 2, "run")
    steps = [(9, 9, 0), (9, 9999, 3), (9, 10000, 0), (10, 0, 999999), (10, 0, 1000000)]
    for progress in steps:
        folder.save(made(*progress))
    assert len(list(tmp_path.iterdir())) == 2
    newest = folder.load_newest()
    assert newest is not None
    assert newest.progress == TrainingProgress(10, 0, 1000000)


@pytest.mark.parametrize("tenth", range(10))
def test_a_truncated_one_is_named_and_the_one_before_it_serves(tmp_path: Path, tenth: int, capsys) -> None:
    folder = CheckpointDir(tmp_path, 2, "run")
    folder.save(made(0, 1))
    path = folder.save(made(0, 2))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * tenth // 10])
    newest = folder.load_newest()
    assert newest is not None
    assert same(newest, made(0, 1))
    assert f"checkpoint {path.name} cannot be used" in capsys.readouterr().out
    assert not path.exists()


def test_no_changed_byte_of_a_value_passes(tmp_path: Path) -> None:
    """Bytes that say nothing (a date in the zip's headers) may change; what is read never differs."""
    path = CheckpointDir(tmp_path, 1, "run").save(made())
    whole = path.read_bytes()
    refused = 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        try:
            assert same(checkpoint.read_checkpoint(path, "run"), made())
        except CorruptCheckpoint:
            refused += 1
    assert refused > len(whole) / 2


def test_a_checksum_catches_what_zip_does_not(tmp_path: Path) -> None:
    path = tmp_path / "stage0-epoch1-step0.npz"
    checkpoint.write_checkpoint(path, made(), "run")
    with np.load(path) as file:
        members = {name: file[name] for name in file.files}
    members["array/weights/0"][0, 0] += 1
    np.savez(path, **members)
    with pytest.raises(CorruptCheckpoint, match="checksum"):
        checkpoint.read_checkpoint(path, "run")


def test_another_runs_checkpoint_is_named_and_left_out(tmp_path: Path, capsys) -> None:
    CheckpointDir(tmp_path, 2, "another").save(made())
    assert CheckpointDir(tmp_path, 2, "run").load_newest() is None
    assert "cannot be used (it is of run another)" in capsys.readouterr().out


def test_a_pickle_in_it_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "stage0-epoch1-step0.npz"
    np.savez(path, head=np.array([{"format": 1}], object), sha256=np.zeros(32, np.uint8))
    with pytest.raises(CorruptCheckpoint, match="allow_pickle"):
        checkpoint.read_checkpoint(path, "run")


def test_another_versions_checkpoint_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = CheckpointDir(tmp_path, 1, "run")
    folder.save(made())
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    with pytest.raises(UserError, match="another version of thaw"):
        folder.load_newest()


def test_without_room_the_one_before_is_kept_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = CheckpointDir(tmp_path, 1, "run")
    first = folder.save(made(0, 1))

    def full(file, **arrays) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(UserError, match="No space left on device"):
        folder.save(made(0, 2))
    assert list(tmp_path.iterdir()) == [first]


def test_what_a_kill_left_is_removed_and_so_is_all_at_the_end(tmp_path: Path) -> None:
    folder = CheckpointDir(tmp_path / "checkpoints", 2, "run")
    folder.save(made())
    (folder.path / "stage0-epoch2-step0.npz.tmp").write_bytes(b"half")
    assert folder.load_newest() is not None
    assert len(list(folder.path.iterdir())) == 1
    folder.clear()
    assert not folder.path.exists()
    assert folder.load_newest() is None

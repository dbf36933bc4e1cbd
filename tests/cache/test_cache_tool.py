"""scripts/cache.py, run as a user would."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from thaw.cache.locks import space_lock
from thaw.common.console import format_bytes
from thaw.common.errors import UserError
from thaw.config.schema import CacheConfig
from thaw.config.tool_schemas import CacheToolConfig
from thaw.tools import cache

from .synthetic_rows import KEY, assert_clean, digest, fill
from .test_row_store import flip, only

ROOT = Path(__file__).parent.parent.parent


def run(store, capsys, **keys):
    cache.cache(CacheToolConfig(cache=CacheConfig(dir=str(store.folder), max_gb=1.0), **keys))
    return capsys.readouterr().out


def script(*arguments):
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "cache.py", *arguments], capture_output=True, text=True, timeout=60
    )


def test_list_says_what_is_kept(store, capsys):
    fill(store.space(KEY), range(7))
    fill(store.space({"kind": "pixels", "image_size": None, "odd": {"a": [1]}, "cut": {"b": 2}}), range(3))
    out = run(store, capsys)
    line = next(line for line in out.splitlines() if store.space(KEY).id in line)
    assert "activations · inceptionv3 · mixed6 · 96" in line
    assert " 7 " in line
    assert time.strftime("%Y-%m-%d") in line
    assert f"2 spaces · {format_bytes(store.used_bytes())} of 1.0 GB" in out


def test_list_tells_activations_from_those_computed_through_another_cut(store, capsys):
    for sources in ({}, {"from": [["mixed1"], ["mixed3", "mixed4"]]}, {"from": "odd"}):
        fill(store.space({"kind": "activations", "cut": ["mixed6"], **sources}), range(2))
    out = run(store, capsys)
    assert out.count("activations · mixed6") == 3
    assert out.count("activations · mixed6 · from mixed3") == 1


def test_list_does_not_stumble_over_what_it_does_not_know(store, capsys):
    space = store.space({"something": "else"})
    fill(space, range(2))
    (store.folder / "notes.txt").write_text("mine")
    assert space.id in run(store, capsys)
    (space._folder / "space.json").write_text("[1")
    assert space.id in run(store, capsys)


def test_verify_names_the_damaged_row_and_exits_with_1(store):
    space, other = store.space(KEY), store.space(KEY | {"view": 1})
    fill(space, range(20))
    fill(other, range(5))
    arguments = (f"cache.dir={store.folder}", "action=verify")
    sound = script(*arguments)
    assert (sound.returncode, sound.stderr) == (0, "")
    assert "25 rows in 2 spaces: sound" in sound.stdout
    flip(only(space, "rows"), 3 * 240)
    damaged = script(*arguments)
    assert damaged.returncode == 1
    assert f"damaged: space {space.id}, row {digest(3)}\n" in damaged.stdout
    assert damaged.stderr.startswith("error: 1 of 25 rows in ")
    assert script(*arguments).returncode == 0
    assert fill(space, range(20))[1] == [3]
    assert fill(other, range(5))[1] == []


def test_verify_finds_torn_indexes_and_lost_data(store, capsys):
    torn, lost = store.space(KEY), store.space(KEY | {"view": 1})
    fill(torn, range(5))
    fill(lost, range(5))
    only(torn, "index").write_bytes(b"torn")
    only(lost, "rows").unlink()
    with pytest.raises(UserError, match="5 of 5 rows and 1 index in"):
        run(store, capsys, action="verify")
    assert torn.id in capsys.readouterr().out
    assert fill(torn, range(5))[1] == list(range(5))
    assert_clean(torn)


def test_clear_by_the_beginning_of_the_id(store, capsys):
    space, other = store.space(KEY), store.space(KEY | {"view": 1})
    fill(space, range(5))
    fill(other, range(5))
    used = store.used_bytes()
    out = run(store, capsys, action="clear", space=space.id[:6].upper())
    assert out.startswith(f"{format_bytes(used / 2)} removed")
    assert not space._folder.exists()
    assert fill(other, range(5))[1] == []
    assert fill(space, range(5))[1] == list(range(5))
    run(store, capsys, action="clear")
    assert store.used_bytes() == 0
    assert f"nothing is kept at {store.folder}" in run(store, capsys)


def test_clear_what_was_not_used_lately(store, capsys):
    space, other = store.space(KEY), store.space(KEY | {"view": 1})
    fill(space, range(5))
    fill(other, range(5))
    day_before_yesterday = time.time() - 2 * 86400
    os.utime(only(space, "index"), (day_before_yesterday, day_before_yesterday))
    run(store, capsys, action="clear", unused_days=3)
    assert space.missing([digest(0)]) == []
    run(store, capsys, action="clear", unused_days=1)
    assert space.missing([digest(0)]) == [0]
    assert other.missing([digest(0)]) == []


def test_list_what_was_not_used_lately(store, capsys):
    space, other = store.space(KEY), store.space(KEY | {"view": 1})
    fill(space, range(5))
    fill(other, range(5))
    fill(space, range(12))  # a second segment, of 7 rows
    long_ago = time.time() - 10 * 86400
    small = min(space._folder.glob("*.index"), key=lambda path: path.stat().st_size)
    os.utime(small, (long_ago, long_ago))
    out = run(store, capsys, unused_days=3)
    (line,) = [line for line in out.splitlines() if space.id in line]
    assert " 5 " in line
    assert time.strftime("%Y-%m-%d", time.localtime(long_ago)) in line
    assert other.id not in out
    assert "1 space · " in out
    assert "0 spaces · 0 bytes of 1.0 GB" in run(store, capsys, unused_days=30)


def test_verify_takes_no_days(store, capsys):
    with pytest.raises(UserError, match="unused_days is for action=list and action=clear"):
        run(store, capsys, action="verify", unused_days=3)


def test_clear_leaves_what_a_run_is_computing(store, capsys):
    space, other = store.space(KEY), store.space(KEY | {"view": 1})
    fill(space, range(5))
    fill(other, range(5))
    with space_lock(store.folder, space.id, "waiting"):
        # In a process of its own: a lock knows the thread that holds it.
        cleared = script(f"cache.dir={store.folder}", "action=clear")
    assert cleared.returncode == 0, cleared.stderr
    assert f"space {space.id} is in use by a run that computes; it stays" in cleared.stdout
    assert space.missing([digest(0)]) == []
    assert other.missing([digest(0)]) == [0]


def test_a_space_that_is_not_there(store, capsys):
    fill(store.space(KEY), range(2))
    with pytest.raises(UserError, match=f"space=zz begins no space's id. There are: {store.space(KEY).id}"):
        run(store, capsys, space="zz")


def test_a_folder_that_is_not_there(store, capsys):
    for action in ("list", "verify", "clear"):
        assert run(store, capsys, action=action) == f"nothing is kept at {store.folder}\n"
    assert not store.folder.exists()

"""Processes that are killed at any time, and several that use one space at once."""

import signal
import time

import pytest

from .synthetic_rows import KEY, assert_clean, digest, fill, start

N = 40
# Rows of 240 bytes: every 4 are written, every 12 a segment ends.
SMALL = """
from thaw.cache import segment, writer
writer.BUFFER_BYTES, writer.SEGMENT_BYTES = 960, 2880
space = DiskCache(Path(sys.argv[1]), 1e9).space(KEY)
def die(): os.kill(os.getpid(), signal.SIGKILL)
"""
COMPUTE = """
work = Work(range(40), make)
space.get_or_compute(work.digests, work)
"""
KILLS = {
    "while computing": """
def make(n):
    if n == 30: die()
    return content(n)
""",
    "half of a write": """
make, write, calls = content, os.write, []
def half(file, data):
    calls.append(1)
    if len(calls) == 8:
        write(file, data[:400])
        die()
    return write(file, data)
os.write = half
""",
    "between data and index": """
make, index, calls = content, segment.write_index, []
def late(path, table):
    calls.append(1)
    if len(calls) == 3: die()
    index(path, table)
segment.write_index = late
""",
    "before the index has its name": """
make, replace, calls = content, Path.replace, []
def late(self, target):
    calls.append(1)
    if len(calls) == 4: die()
    return replace(self, target)
Path.replace = late
""",
    "just after a commit": """
make, index, calls = content, segment.write_index, []
def late(path, table):
    index(path, table)
    calls.append(1)
    if len(calls) == 2: die()
segment.write_index = late
""",
    "while a committed segment grows": """
writer.COMMIT_SECONDS, writer.SEGMENT_BYTES = 0.0, 10**6
make, write, calls = content, os.write, []
def half(file, data):
    calls.append(1)
    if len(calls) == 8:
        write(file, data[:100])
        die()
    return write(file, data)
os.write = half
""",
    "before anything": """
def make(n): die()
""",
}


@pytest.mark.parametrize("moment", KILLS)
def test_a_killed_run_costs_only_what_was_not_committed(store, moment):
    process = start(SMALL + KILLS[moment] + COMPUTE, store.folder)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, out
    space = store.space(KEY)
    missing = space.missing([digest(n) for n in range(N)])
    committed = N - len(missing)
    assert missing == list(range(committed, N)), "rows are committed in their order"
    assert (committed == 0) == (moment == "before anything")
    assert fill(space, range(N))[1] == missing
    assert_clean(space)


def test_slow_work_that_is_killed_early_costs_seconds(store):
    """A row a second, killed in the 15th: far less than a buffer, let alone a segment."""
    script = """
from types import SimpleNamespace
from thaw.cache import writer
seconds = [0.0]
writer.time = SimpleNamespace(monotonic=lambda: seconds[0])
def make(n):
    seconds[0] += 1
    if n == 15: os.kill(os.getpid(), signal.SIGKILL)
    return content(n)
work = Work(range(40), make)
DiskCache(Path(sys.argv[1]), 1e9).space(KEY).get_or_compute(work.digests, work)
"""
    process = start(script, store.folder)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, out
    space = store.space(KEY)
    missing = space.missing([digest(n) for n in range(15)])
    assert len(missing) <= 6, "seconds"
    assert len(list(space._folder.glob("*.index"))) == 1, "more of one segment, not one segment each time"
    assert fill(space, range(15))[1] == missing


def test_a_kill_from_outside_at_any_time(store):
    script = SMALL + "def make(n):\n time.sleep(0.002)\n return content(n)\n"
    script += "work = Work(range(4000), make)\nspace.get_or_compute(work.digests, work)\n"
    space = store.space(KEY)
    committed = 0
    for turn in range(4):
        process = start(script, store.folder)
        deadline = time.monotonic() + 30
        while 4000 - len(space.missing([digest(n) for n in range(4000)])) <= committed:
            assert time.monotonic() < deadline
            time.sleep(0.005 + 0.003 * turn)
        process.kill()
        process.communicate()
        now = 4000 - len(space.missing([digest(n) for n in range(4000)]))
        assert now > committed
        committed = now
    assert fill(space, range(committed + 5))[1] == list(range(committed, committed + 5))
    assert_clean(space)


CONCURRENT = """
space = DiskCache(Path(sys.argv[1]), 1e9).space(KEY)
log = open(sys.argv[2], "w")
def make(n):
    log.write(f"{n}\\n"); log.flush()
    time.sleep(0.01)
    return content(n)
def go(*numbers):
    work = Work(range(*numbers), make)
    rows = space.get_or_compute(work.digests, work)
    for position, number in enumerate(work.numbers):
        assert rows.row(position).tobytes() == content(number).tobytes()
    print("right", rows.hits, rows.misses)
print("ready")
while not os.path.exists(sys.argv[3]): time.sleep(0.001)
go(int(sys.argv[4]), int(sys.argv[5]))
"""


def run_concurrently(tmp_path, store, *ranges):
    logs = [tmp_path / f"log{i}" for i in range(len(ranges))]
    go = tmp_path / "go"
    runs = [start(CONCURRENT, store.folder, log, go, *each) for log, each in zip(logs, ranges, strict=True)]
    for run in runs:
        assert run.stdout.readline() == "ready\n"
    go.touch()
    outs = [run.communicate(timeout=60)[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * len(runs), outs
    return [[int(line) for line in log.read_text().split()] for log in logs], outs


def test_two_runs_compute_each_row_once(tmp_path, store):
    done, outs = run_concurrently(tmp_path, store, (0, 60), (0, 60))
    assert sorted(done[0] + done[1]) == list(range(60))
    assert all("right" in out for out in outs)
    assert sum(out.count("another run is computing the same; waiting for it") for out in outs) == 1
    assert_clean(store.space(KEY))


def test_a_run_that_waited_computes_only_the_rest(tmp_path, store):
    done, _ = run_concurrently(tmp_path, store, (0, 50), (25, 75), (50, 80))
    assert sorted(done[0] + done[1] + done[2]) == list(range(80))


def test_a_run_that_needs_nothing_new_does_not_wait(tmp_path, store):
    fill(store.space(KEY), range(5))
    script = "space = DiskCache(Path(sys.argv[1]), 1e9).space(KEY)\n"
    script += "def make(n):\n print('computing')\n time.sleep(60)\n"
    script += "work = Work(range(5, 6), make)\nspace.get_or_compute(work.digests, work)\n"
    process = start(script, store.folder)
    assert process.stdout.readline() == "computing\n"
    before = time.monotonic()
    assert fill(store.space(KEY), range(5))[1] == []
    assert time.monotonic() - before < 5
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode != 0
    assert fill(store.space(KEY), range(6))[1] == [5]

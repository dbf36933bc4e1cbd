"""Commands that are watched, and that end with us."""

import signal
import sys
import time

import pytest

from thaw_lab.process import Processes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no signals to a group of processes")

SLOW = "import time; print('first'); print('second'); time.sleep(60)"


def test_lines_are_seen_as_they_come_and_a_kill_is_told_apart(tmp_path) -> None:
    with Processes().until_done() as processes:
        process = processes.start([sys.executable, "-u", "-c", SLOW], tmp_path, {})
        assert process.wait_for("^second$")
        process.signal(signal.SIGKILL)
        ended = process.end()
    assert ended.code == -signal.SIGKILL
    assert ended.shell_code == 137
    assert ended.lines == ["first", "second"]
    assert ended.times[0] == 0
    assert len(ended.times) == 3


def test_a_command_that_ends_is_not_waited_for(tmp_path) -> None:
    code = "import sys; print('first'); sys.exit('error: no')"
    with Processes().until_done() as processes:
        process = processes.start([sys.executable, "-c", code], tmp_path, {})
        assert not process.wait_for("never")
        assert not process.wait(60)
        ended = process.end()
    assert (ended.code, ended.out, ended.err) == (1, "first", "error: no\n")


def _interrupted(processes: Processes, folder) -> None:
    with processes.until_done():
        assert processes.start([sys.executable, "-u", "-c", SLOW], folder, {}).wait_for("second")
        raise KeyboardInterrupt


def test_nothing_goes_on_when_we_are_broken_off(tmp_path) -> None:
    processes = Processes()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        _interrupted(processes, tmp_path)
    assert not any(process.running for process in processes.live)
    assert time.monotonic() - started < 30
    assert processes.live
    with pytest.raises(RuntimeError, match="broken off"):
        processes.start([sys.executable, "-c", ""], tmp_path, {})

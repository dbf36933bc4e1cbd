"""Commands that are watched, and that end with us."""

import signal
import sys
import time

import pytest

from thaw_lab.process import ProcessGroup

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no signals to a group of processes")

SLOW = "import time; print('first'); print('second'); time.sleep(60)"


def test_lines_are_seen_as_they_come_and_a_kill_has_its_exit_code(tmp_path) -> None:
    with ProcessGroup().kill_on_exit() as processes:
        process = processes.start([sys.executable, "-u", "-c", SLOW], tmp_path, {})
        assert process.wait_until(lambda: "second" in process.lines)
        process.send_signal(signal.SIGKILL)
        ended = process.wait_for_exit()
    assert ended.exit_code == -signal.SIGKILL
    assert ended.shell_exit_code == 137
    assert ended.lines == ["first", "second"]
    assert ended.times[0] == 0
    assert len(ended.times) == 3


def test_a_command_that_ends_is_not_waited_for(tmp_path) -> None:
    code = "import sys; print('first'); sys.exit('error: no')"
    with ProcessGroup().kill_on_exit() as processes:
        process = processes.start([sys.executable, "-c", code], tmp_path, {})
        assert not process.wait_until(lambda: False)
        assert not process.runs_for(60)
        ended = process.wait_for_exit()
    assert (ended.exit_code, ended.stdout, ended.stderr) == (1, "first", "error: no\n")


def _interrupted(processes: ProcessGroup, folder) -> None:
    with processes.kill_on_exit():
        process = processes.start([sys.executable, "-u", "-c", SLOW], folder, {})
        assert process.wait_until(lambda: "second" in process.lines)
        raise KeyboardInterrupt


def test_nothing_runs_on_when_we_are_interrupted(tmp_path) -> None:
    processes = ProcessGroup()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        _interrupted(processes, tmp_path)
    assert not any(process.running for process in processes.started)
    assert time.monotonic() - started < 30
    assert processes.started
    with pytest.raises(RuntimeError, match="interrupted"):
        processes.start([sys.executable, "-c", ""], tmp_path, {})

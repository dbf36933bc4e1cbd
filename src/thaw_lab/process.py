"""A command that runs while we watch: its lines as they come, signals to it, and its end."""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

TIMEOUT_SECONDS = 600.0  # seconds; a training of 20 that takes so long hangs, also where eight run at once


@dataclass(frozen=True)
class CompletedCommand:
    """What a command came to.

    code: the exit code, negative for the signal that ended it. lines: of its output; times: when each came, and then
    when it ended, in seconds after the first.
    """

    exit_code: int
    lines: list[str]
    times: list[float]
    stderr: str

    @property
    def shell_exit_code(self) -> int:
        """The exit code as a shell shows it: 130 also when Ctrl-C ended the process before it could say so."""
        return self.exit_code if self.exit_code >= 0 else 128 - self.exit_code

    @property
    def stdout(self) -> str:
        return "\n".join(self.lines)


class Process:
    """One command, in a session of its own: a Ctrl-C in our terminal is ours to pass on."""

    def __init__(self, command: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
        self.lines: list[str] = []
        self._times: list[float] = []
        self._changed = threading.Condition()
        self._closed = False
        self._popen = subprocess.Popen(
            command, cwd=folder, env=env, start_new_session=True, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._err: list[str] = []
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read, self._read_err)]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            with self._changed:
                self._times.append(time.monotonic())
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _read_err(self) -> None:
        assert self._popen.stderr is not None
        self._err += self._popen.stderr

    def wait_until(self, seen: Callable[[list[str]], bool]) -> bool:
        """Wait until its lines so far satisfy `seen`; False when it ended before."""
        with self._changed:
            self._changed.wait_for(lambda: seen(self.lines) or self._closed, TIMEOUT_SECONDS)
            return self.running and seen(self.lines)

    def wait_for_line(self, pattern: str) -> bool:
        """Wait until a line matches the regular expression; False when it ended before."""
        return self.wait_until(lambda lines: any(re.search(pattern, line) for line in lines))

    def runs_for(self, seconds: float) -> bool:
        """Wait so long; False when it ended before."""
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(max(0.0, seconds))
            return False
        return True

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def send_signal(self, number: int) -> None:
        """Send a signal to the command and what it started; to one that has ended, nothing."""
        if self.running:
            with suppress(ProcessLookupError):
                os.killpg(self._popen.pid, number)

    def wait_for_exit(self) -> CompletedCommand:
        """Wait for its end; one that hangs is killed."""
        try:
            self._popen.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.send_signal(signal.SIGKILL)
        code = self._popen.wait()
        for reader in self._readers:
            reader.join(5)  # a grandchild may hold the pipe open
        times = [*self._times, time.monotonic()]
        return CompletedCommand(code, self.lines, [time - times[0] for time in times], "".join(self._err))


@dataclass
class ProcessGroup:
    """All that we started and that still runs: they end with us. over: no more are to be started."""

    started: list[Process] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    stopped: bool = False

    def start(self, command: Sequence[str], folder: Path, env: Mapping[str, str]) -> Process:
        with self._lock:
            if self.stopped:
                raise RuntimeError("broken off")
            process = Process(command, folder, env)
            self.started = [old for old in self.started if old.running]
            self.started.append(process)
            return process

    @contextmanager
    def kill_on_exit(self) -> Iterator["ProcessGroup"]:
        """Whatever ends the block, nothing that was started in it goes on."""
        try:
            yield self
        finally:
            with self._lock:
                self.stopped = True
            for process in self.started:
                process.send_signal(signal.SIGKILL)
                process.wait_for_exit()

"""Runs a command as a subprocess: its lines as they come, signals to it, its exit code and its peak memory."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from math import nan
from pathlib import Path

TIMEOUT_SECONDS = 600.0  # a training of 20 seconds that takes so long hangs, also where eight run at once
POLL_SECONDS = 0.0005  # the write of a small checkpoint takes some milliseconds


@dataclass(frozen=True)
class CompletedCommand:
    """A command that has ended.

    Attributes:
        exit_code: negative for the signal that ended it.
        lines: standard output; empty when it went to a log, like `stderr`.
        times: when each line came, and then when the command ended, in seconds after the first line.
        stderr: standard error.
        wall_seconds: from start to exit, with Python's start and all imports.
        peak_mb: most resident memory, in MB (1e6 bytes); NaN where the system does not say.
    """

    exit_code: int
    lines: list[str]
    times: list[float]
    stderr: str
    wall_seconds: float = nan
    peak_mb: float = nan

    @property
    def shell_exit_code(self) -> int:
        """The exit code as a shell shows it: 130 also when Ctrl-C ended the process before it could say so."""
        return self.exit_code if self.exit_code >= 0 else 128 - self.exit_code

    @property
    def stdout(self) -> str:
        """Standard output as one text."""
        return "\n".join(self.lines)


class Process:
    """A running command in a session of its own, which Ctrl-C in our terminal does not reach.

    Its standard output comes in `lines`; with `log`, it goes to that file instead, together with standard error.
    """

    def __init__(self, command: Sequence[str], cwd: Path, env: Mapping[str, str], log: Path | None = None) -> None:
        self.lines: list[str] = []
        self._times: list[float] = []
        self._stderr: list[str] = []
        self._wall_seconds = self._peak_mb = nan
        self._ended = threading.Event()
        self._started = time.perf_counter()
        with log.open("w") if log else nullcontext(subprocess.PIPE) as out:
            self._popen = subprocess.Popen(
                command, cwd=cwd, env=env, start_new_session=True, text=True, errors="replace",
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT if log else subprocess.PIPE,
            )  # fmt: skip
        readers = [] if log else [self._read_stdout, self._read_stderr]
        self._readers = [threading.Thread(target=read, daemon=True) for read in readers]
        for thread in (*self._readers, threading.Thread(target=self._reap, daemon=True)):
            thread.start()

    def _read_stdout(self) -> None:
        for line in self._popen.stdout or ():
            self._times.append(time.monotonic())
            self.lines.append(line.rstrip("\n"))

    def _read_stderr(self) -> None:
        self._stderr += self._popen.stderr or ()

    def _reap(self) -> None:
        if hasattr(os, "wait4"):  # tells the peak memory, which Popen.wait does not
            _, status, usage = os.wait4(self._popen.pid, 0)
            self._popen.returncode = os.waitstatus_to_exitcode(status)
            self._peak_mb = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024)  # bytes there, else KiB
        self._popen.wait()
        self._wall_seconds = time.perf_counter() - self._started
        self._ended.set()

    @property
    def running(self) -> bool:
        """Whether the command has not ended yet."""
        return not self._ended.is_set()

    def wait_until(self, condition: Callable[[], bool]) -> bool:
        """Wait until a condition holds; return False when the command ended first."""
        timeout = time.monotonic() + TIMEOUT_SECONDS
        while not condition() and time.monotonic() < timeout:
            if not self.runs_for(POLL_SECONDS):
                return False
        return self.running

    def runs_for(self, seconds: float) -> bool:
        """Wait so long; return False when the command ended first."""
        return not self._ended.wait(max(0.0, seconds))

    def send_signal(self, number: int) -> None:
        """Send a signal to the command and what it started, unless it has ended."""
        if self.running:
            with suppress(ProcessLookupError):
                os.killpg(self._popen.pid, number)

    def wait_for_exit(self, timeout: float | None = TIMEOUT_SECONDS) -> CompletedCommand:
        """Wait for the exit; kill the command after `timeout` seconds, None: never."""
        if not self._ended.wait(timeout):
            self.send_signal(signal.SIGKILL)
        self._ended.wait()
        for reader in self._readers:
            reader.join(5)  # a grandchild may hold the pipe open
        times = [*self._times, time.monotonic()]
        seconds, stderr = [time - times[0] for time in times], "".join(self._stderr)
        code = self._popen.returncode
        return CompletedCommand(code, self.lines, seconds, stderr, self._wall_seconds, self._peak_mb)


@dataclass
class ProcessGroup:
    """The commands that we started, which end with us. stopped: all were killed, and no more may start."""

    started: list[Process] = field(default_factory=list)
    stopped: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, command: Sequence[str], cwd: Path, env: Mapping[str, str], log: Path | None = None) -> Process:
        """Start a command, as `Process` does. Raises RuntimeError once the group was stopped."""
        with self._lock:
            if self.stopped:
                raise RuntimeError("interrupted")
            process = Process(command, cwd, env, log)
            self.started = [*(old for old in self.started if old.running), process]
            return process

    @contextmanager
    def kill_on_exit(self) -> Iterator["ProcessGroup"]:
        """Kill what still runs when the block ends, however it ends."""
        try:
            yield self
        finally:
            with self._lock:
                self.stopped = True
            for process in self.started:
                process.send_signal(signal.SIGKILL)
                process.wait_for_exit()

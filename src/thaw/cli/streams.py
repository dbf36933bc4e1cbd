"""Standard streams that are closed, as under cron, that nobody reads, or that cannot encode a text."""

import os
import select
import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from thaw.common.console import discard_output

P = ParamSpec("P")

# 128 + SIGPIPE, as a shell reports it: a listing that was cut short is no success. A training whose output nobody reads
# continues and ends with its own code.
EXIT_BROKEN_PIPE = 141


def open_closed_streams(errors_on_output: bool = False) -> None:
    """Open closed standard streams, and have characters escaped that a stream cannot encode.

    A closed stream's number goes to the next file that is opened, such as a database, and the log lines of TensorFlow's
    C++ code into it. errors_on_output: while standard error is closed, errors go to standard output.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = sys.stdout if errors_on_output else open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def exit_quietly_on_broken_pipe(main: Callable[P, None]) -> Callable[P, None]:
    """End a command with EXIT_BROKEN_PIPE and no traceback when nobody reads its output any more: `--help | head -1`.

    An exit code that the command sets itself stays.
    """

    @wraps(main)
    def ended(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            main(*args, **kwargs)
            write_stdout("")
        except BrokenPipeError:
            if not _unread():
                raise  # another pipe or connection
            discard_output()
            sys.exit(EXIT_BROKEN_PIPE)
        except SystemExit:
            if _unread():  # Python's own flush would fail, and change the code
                discard_output()
            raise

    return ended


def write_stdout(text: str) -> None:
    """Print a text and flush the buffer; a full disk is one error."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk
        discard_output()
        sys.exit(f"error: standard output: {(error.strerror or str(error)).lower()}")


def _unread() -> bool:
    """Whether nobody reads standard output or standard error any more."""
    streams = select.poll()
    for number in (1, 2):
        streams.register(number, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in streams.poll(0))

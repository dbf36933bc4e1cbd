"""Standard streams that are closed, as under cron and some services, or cannot encode what is said."""

import os
import sys


def open_closed(errors_on_output: bool = False) -> None:
    """Open what is closed of standard input, output and error, and let no character be one that cannot be printed.

    A closed one's number would be given to the next file that is opened: a database, say, into which the log lines of
    TensorFlow's C++ code would go. errors_on_output: while standard error is closed, errors go to standard output.
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

"""Ctrl-C and SIGTERM come out of OpenVINO's conversion as themselves."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from thaw.common.signals import propagate_signals

SRC = Path(__file__).parent.parent.parent / "src"
# OpenVINO asks its node decoder from C++: what is raised there becomes another error, with and without its name in it.
STOPPED = """
import signal, sys
from thaw.common import tensorflow_setup
from thaw.frozen.engine import InferenceFunction

class Terminated(SystemExit): ...
def terminate(number, frame): raise Terminated(143)
signal.signal(signal.SIGTERM, terminate)

tensorflow_setup.start_tensorflow(0, True)
import keras
from openvino.frontend.tensorflow.node_decoder import TFGraphNodeDecoder as Decoder
images = keras.Input((32, 32, 3), name="images")
model = keras.Model([images], keras.layers.Conv2D(8, 3, name="conv")(images))
for number, method in ((signal.SIGINT, "get_op_type"), (signal.SIGINT, "get_input_node_name"),
                       (signal.SIGTERM, "get_op_name")):
    original = getattr(Decoder, method)
    def stopped(*arguments):
        signal.raise_signal(number)
        return original(*arguments)
    setattr(Decoder, method, stopped)
    before = signal.getsignal(number)
    try:
        InferenceFunction(model, "openvino", "float32")
    except BaseException as error:
        print(method, type(error).__name__, signal.getsignal(number) is before)
    setattr(Decoder, method, original)
"""


def test_a_stop_during_the_conversion_is_not_an_error() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOPPED], env={"PYTHONPATH": str(SRC)}, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.splitlines() == [
        "get_op_type KeyboardInterrupt True",
        "get_input_node_name KeyboardInterrupt True",
        "get_op_name Terminated True",
    ], done.stderr
    assert done.stderr == ""


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Python's own handler, whatever runs the tests has made of it."""
    original = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, original)


def interrupted_and_lost() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    except BaseException:  # as `except:` in foreign code does
        return


@pytest.mark.usefixtures("ctrl_c")
def test_a_stop_that_was_swallowed_comes_back() -> None:
    with pytest.raises(KeyboardInterrupt), propagate_signals():
        interrupted_and_lost()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_a_signal_errors_are_themselves() -> None:
    with pytest.raises(RuntimeError, match="own"), propagate_signals():
        raise RuntimeError("own")
    passed = []
    with propagate_signals():
        passed.append(1)
    assert passed == [1]


def test_in_a_thread_it_does_nothing() -> None:
    passed = []

    def inside() -> None:
        with propagate_signals():
            passed.append(1)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert passed == [1]

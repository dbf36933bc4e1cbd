"""What stays in memory and in force in a process that runs one job after the other."""

import gc
import weakref

import numpy as np
import pytest

from thaw.common import tensorflow_setup
from thaw.common.errors import UserError


def test_a_process_that_is_deterministic_does_not_run_a_job_that_is_not_to_be() -> None:
    """It would be deterministic too, and as slow, and not say so."""
    tensorflow_setup.start_tensorflow(0, deterministic=True)
    with pytest.raises(UserError, match="deterministic=false after a job with deterministic=true"):
        tensorflow_setup.start_tensorflow(0, deterministic=False)


def test_a_gpus_memory_grows_as_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow would take all of it; there is no GPU here, so the calls that it would get are recorded."""
    tensorflow_setup.import_tensorflow()
    import tensorflow as tf

    growth: dict[str, bool] = {}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["one", "other"] if kind == "GPU" else [])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", growth.__setitem__)
    tensorflow_setup._let_gpu_memory_grow()
    assert growth == {"one": True, "other": True}


def trained(activation: str) -> "weakref.ref[object]":
    """Train a small network for a step, and forget it."""
    import keras

    tensorflow_setup.start_tensorflow(0, deterministic=True)
    images = keras.Input((4,))
    hidden = keras.layers.Dense(3, activation=activation)(images)
    model = keras.Model(images, keras.layers.Dense(2, activation="softmax")(hidden))
    model.compile("rmsprop", "categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    model.fit(np.ones((8, 4), np.float32), np.eye(2, dtype=np.float32)[np.arange(8) % 2], verbose=0)
    return weakref.ref(model.layers[-1])


def graphs() -> "list[weakref.ref[object]]":
    """The graphs of traced functions that are alive."""
    return [weakref.ref(thing) for thing in gc.get_objects() if "FuncGraph" in type(thing).__name__]


def test_a_network_that_was_trained_and_its_graphs_are_freed_when_the_next_run_starts() -> None:
    for activation in ("relu", "swish"):  # TensorFlow computes swish's gradient by a function of its own
        before = {graph() for graph in graphs()}  # of other tests of this process, which may hold theirs
        layer = trained(activation)
        traced = [graph for graph in graphs() if graph() not in before]
        assert traced
        del before
        tensorflow_setup.start_tensorflow(0, deterministic=True)
        assert layer() is None, activation
        assert [graph() for graph in traced if graph() is not None] == [], activation

"""TensorFlow's start: quietly, seeded, with the threads and the precision that the configuration asks for."""

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from thaw.common import environment
from thaw.common.errors import UserError
from thaw.common.quick_imports import collection_paused, modules_hidden

# What Keras imports if it is installed, for parts that thaw does not use (a second): `keras.wrappers` and
# `keras.visualization`.
_KERAS_EXTRAS = ("sklearn", "matplotlib")
_hidden_from_keras: tuple[str, ...] = ()


def import_keras_without_extras() -> None:
    """Let Keras be imported without scikit-learn and Matplotlib: for a process in which only thaw uses Keras."""
    global _hidden_from_keras
    _hidden_from_keras = _KERAS_EXTRAS


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back the process's standard error while the block runs; write it out only if the block fails.

    TensorFlow's C++ code writes log lines before its own log level is read, so Python cannot filter them.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except Exception:  # not Ctrl-C: what was held back is noise then
            sys.stderr.flush()
            os.dup2(stderr, 2)
            held_back.seek(0)
            os.write(2, held_back.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)


def import_tensorflow() -> None:
    """Import TensorFlow and Keras (8 s) without their log lines and without the user's own settings of them.

    Raises:
        UserError: the environment has a setting that would make the config untrue.
    """
    environment.check_variables()
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        # Whatever the user's environment or keras.json says: thaw is Keras 3 on TensorFlow.
        os.environ |= {"KERAS_BACKEND": "tensorflow", "KERAS_NNX_ENABLED": "false", "TF_USE_LEGACY_KERAS": "0"}
        os.environ |= environment.onednn_setting()
        _import()
        _let_gpu_memory_grow()
        _divide_cpu()
    _set_keras_defaults()


def _import() -> None:
    keras_json_error: AssertionError | None = None
    with quiet_stderr(), collection_paused(), modules_hidden(*_hidden_from_keras):
        try:
            import tensorflow as tf

            tf.get_logger().setLevel("ERROR")
            import keras  # noqa: F401
        except AssertionError as error:  # TensorFlow and Keras assert that the values of keras.json are valid
            keras_json_error = error
    if keras_json_error is not None:
        file = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "keras.json"
        raise UserError(
            f"{file} has a value that Keras does not know. Mend it or remove it: thaw needs none"
        ) from keras_json_error


def _let_gpu_memory_grow() -> None:
    """Let TensorFlow take a GPU's memory as it needs it; it would take all of it at its first computation."""
    import tensorflow as tf

    with quiet_stderr():  # TensorFlow logs at length how it looks for GPUs
        gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)


def logical_cpus() -> int:
    """Return into how many devices TensorFlow divides the processor: 1 but in tests.

    THAW_LOGICAL_CPUS=2 lets distribute=mirrored be tried without GPUs. The two share cores and memory: it is no faster.
    """
    text = os.environ.get("THAW_LOGICAL_CPUS", "") or "1"
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 64):
        raise UserError(f"the environment variable THAW_LOGICAL_CPUS={text} is no number of devices from 1 to 64")
    return int(text)


def _divide_cpu() -> None:
    """Divide the processor into logical devices, if THAW_LOGICAL_CPUS says so; later TensorFlow would refuse."""
    import tensorflow as tf

    if (devices := logical_cpus()) > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)


def _set_keras_defaults() -> None:
    """Override what ~/.keras/keras.json sets: all of it changes weights, and none of it is in the config."""
    import keras

    if keras.config.backend() != "tensorflow":
        raise UserError(
            f"Keras runs on {keras.config.backend()} in this process, which imported it before thaw: set "
            "KERAS_BACKEND=tensorflow before it is imported"
        )
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_epsilon(1e-7)


_deterministic = False


def start_tensorflow(seed: int, deterministic: bool | None, tf32: bool = False) -> None:
    """Prepare TensorFlow for one run: layer names and random numbers start anew, threads and precision are set.

    Args:
        seed: of the random numbers of Keras, NumPy and Python.
        deterministic: ops run one after the other (each still uses all cores): the backward pass of BatchNorm in
            training mode otherwise differs by rounding from call to call. None: nothing will train, either will do.
        tf32: whether GPUs may compute float32 products in TensorFloat-32.

    Raises:
        UserError: an earlier run of this process was deterministic and this one is not, or the other way round.
    """
    global _deterministic
    import_tensorflow()
    import keras
    import tensorflow as tf

    if deterministic:
        if tf.config.threading.get_inter_op_parallelism_threads() != 1:
            try:
                with quiet_stderr():
                    tf.config.threading.set_inter_op_parallelism_threads(1)
            except RuntimeError as error:
                raise UserError(
                    "deterministic=true after a job with deterministic=false: TensorFlow's threads are fixed for the "
                    "life of a process. Run them as two sweeps"
                ) from error
        tf.config.experimental.enable_op_determinism()
        _deterministic = True
    elif _deterministic and deterministic is not None:
        raise UserError(
            "deterministic=false after a job with deterministic=true: TensorFlow stays deterministic for the life of a "
            "process. Run them as two sweeps"
        )
    tf.config.experimental.enable_tensor_float_32_execution(tf32)
    _drop_gradient_graphs()
    keras.utils.clear_session()  # collects garbage too
    _exempt_modules_from_collection()
    keras.config.set_dtype_policy("float32")  # networks are float32; stages compute in what `models.precision` sets
    seed_keras(seed)


def seed_keras(seed: int) -> None:
    """Seed what Keras draws without a seed of its own: the first weights of layers. Nothing else sets this seed.

    Splits, batches, augmentation and dropout draw from `data.seeds`.
    """
    import keras

    keras.utils.set_random_seed(seed)


def _drop_gradient_graphs() -> None:
    """Drop the graphs that earlier runs of this process traced, and the networks in them.

    TensorFlow 2.21 registers the gradient of every function with one of its own (swish, and what Keras's optimizers sum
    gradients with) under a number, for the life of the process, and each holds its graph: 3 MB a fit of a head.
    """
    from tensorflow.python.framework import ops

    registered = ops.gradient_registry._registry
    for name in [name for name in registered if name.startswith("CustomGradient-")]:
        del registered[name]


@cache
def _exempt_modules_from_collection() -> None:
    """Exempt all live objects from garbage collection, once in a process, before its first network exists.

    They are mostly modules, which stay: a full collection takes 4 ms instead of 0.36 s, and every job of a sweep has
    some. A network that is alive at that time would never be freed, as it is a cycle of references.
    """
    gc.freeze()


def jit_compile() -> bool:
    """Return whether to compile with XLA: not on CPUs, where it was slower and took minutes to compile a small CNN."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))

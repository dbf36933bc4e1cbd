"""Starts TensorFlow: quietly, seeded, with the threads and the precision that the configuration asks for."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from thaw.errors import UserError


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep the process's standard error aside while the block runs; give it back if the block fails.

    TensorFlow's C++ code writes log lines before its own log level is read, so Python cannot filter them.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except Exception:  # not Ctrl-C: what was held back is noise then
            sys.stderr.flush()
            os.dup2(kept, 2)
            aside.seek(0)
            os.write(2, aside.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def import_tensorflow() -> None:
    """Import TensorFlow and Keras (8 s) without their log noise."""
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with quiet_stderr():
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")
        import keras  # noqa: F401


def start(seed: int, precision: str, deterministic: bool) -> None:
    """Prepare TensorFlow for one run: names and seeds from the start, threads, determinism, precision.

    precision: `float32`, or `bfloat16` for Keras's mixed policy (weights stay float32).
    deterministic: ops run one after the other between themselves (each still uses all cores): the backward pass of
    BatchNorm in training mode otherwise differs by rounding from call to call.
    """
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
    keras.utils.clear_session()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    keras.utils.set_random_seed(seed)


def jit_compile() -> bool:
    """Whether to compile with XLA: not on CPUs, where it was slower and took minutes to compile a small CNN."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))

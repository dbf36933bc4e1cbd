"""What runs networks that do not train: OpenVINO on CPUs, a frozen TensorFlow graph on GPUs and where it is absent."""

import copy
import importlib.metadata
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.common import backend
from thaw.common.errors import UserError
from thaw.common.hardware import Hardware
from thaw.common.signals import propagate_signals

ArrayTuple = tuple[npt.NDArray[Any], ...]
ChunkRunner = Callable[[list[ArrayTuple]], list[ArrayTuple]]  # chunks of inputs -> chunks of outputs

# Images a request. An image's output is the same bit for bit whatever its neighbours: a batch is cut into requests of
# this size, and the last one is filled up. OpenVINO is fastest at 8 (more leave the processor's cache).
# Keras, run step by step, holds every layer's output until the last: InceptionV3 on 32 photos took 5 GB.
CHUNK_SIZES = {"openvino": 8, "tensorflow": 32, "keras": 8}


@dataclass(frozen=True)
class EngineChoice:
    """The engine, and the precisions of what it runs (`frozen`) and of what trains (`trained`).

    Besides openvino and tensorflow there is keras: the network as Keras runs it, step by step. It is what the others
    are held against, and what a head alone needs.
    """

    engine: str
    version: str  # of that package
    frozen: str  # float32, bfloat16 or float16
    trained: str
    device: str = "cpu"  # or gpu: they round differently
    tf32: bool = False  # float32 products of a GPU may be computed with 10 bits of mantissa

    def summary(self) -> str:
        """The choice in one printed line."""
        names = {"openvino": "OpenVINO", "tensorflow": "TensorFlow"}
        place = f" on the GPU{', TensorFloat-32 allowed' if self.tf32 else ''}" if self.device == "gpu" else ""
        return (
            f"{names[self.engine]} {self.version} in {self.frozen} for what is frozen · training in "
            f"{self.trained}{place}"
        )


def choose_engine(
    engine: str,
    precision: str,
    frozen_precision: str,
    *,
    depthwise: bool,
    trains_backbone: bool,
    hardware: Hardware,
    deterministic: bool = True,
) -> EngineChoice:
    """Resolve `auto`; raises UserError for what this machine cannot do.

    TensorFloat-32 is allowed where a GPU computes, nobody asked for float32 by name and the run need not be
    deterministic: TensorFlow allows it by default, and a "float32" of 10 bits is no float32. `backend.start` sets it.

    depthwise: the network has depthwise convolutions. TensorFlow computes their gradients slower in bfloat16 on CPUs
    (MobileNetV2 from layer 100: 193 images/s, and 239 in float32), and bfloat16's 8 bits are too few for them forwards:
    EfficientNet-Lite0's features were off by 9 % of their spread on CIFAR-10 at 160 pixels, and 2.7 % of 5,000 images
    got another class; MobileNet 0.25's by 30 % on digits, and 5.6 %. thaws: some of the backbone trains; a head alone
    is too small to gain anything.
    """
    check_engine(engine, precision, frozen_precision, hardware)
    own = precision if frozen_precision == "auto" else frozen_precision
    if engine == "auto":
        half = _impossible_half(precision, frozen_precision, hardware)
        engine = "openvino" if hardware.openvino and not hardware.gpu_capabilities and not half else "tensorflow"
    fast = hardware.fastest_precision(engine)
    if depthwise and fast == "bfloat16":
        fast = "float32"
    tf32 = bool(hardware.gpu_capabilities) and not deterministic and "float32" not in (precision, frozen_precision)
    if precision == "auto":
        precision = fast if trains_backbone else "float32"
    frozen = fast if own == "auto" else own
    version, device = importlib.metadata.version(engine), "gpu" if hardware.gpu_capabilities else "cpu"
    return EngineChoice(engine, version, frozen, precision, device, tf32)


def check_engine(engine: str, precision: str, frozen_precision: str, hardware: Hardware) -> None:
    """Raise UserError for what was asked for and this machine cannot do. Of the hardware `processor` is enough."""
    if engine != "openvino":
        return
    if not hardware.openvino:
        raise UserError("engine=openvino: the package openvino is not installed. Install it, or set engine=auto")
    if _impossible_half(precision, frozen_precision, hardware):
        raise UserError(
            "engine=openvino in float16: this processor does not compute in float16. Set precision=bfloat16, float32 "
            "or auto, or engine=tensorflow"
        )


def _impossible_half(precision: str, frozen_precision: str, hardware: Hardware) -> bool:
    """float16 where the processor has none: OpenVINO would take bfloat16 and not say so."""
    return "float16" in (precision, frozen_precision) and not hardware.float16


class InferenceFunction:
    """A network as a fast function: arrays (B, ...) in, a tuple of float32 arrays (B, ...) out, in inference mode.

    Thread-safe; several callers take turns. The weights are those of the moment it was made; with the engine keras they
    are always the network's own.
    """

    def __init__(self, model: Any, engine: str, precision: str) -> None:
        self._model, self._engine, self._precision = model, engine, precision
        self._lock = threading.Lock()
        self._converted: Any = _converted(model) if engine == "openvino" else None
        self._run = self._made()

    def _made(self) -> ChunkRunner:
        if self._engine == "openvino":
            return _openvino(self._converted, self._precision)
        return {"tensorflow": _tensorflow, "keras": _keras}[self._engine](self._model, self._precision)

    def select_outputs(self, outputs: Sequence[int]) -> "InferenceFunction":
        """The same network as a function of its own that gives only these of the outputs."""
        import keras

        if self._engine != "openvino":
            model = keras.Model(self._model.inputs, [self._model.outputs[i] for i in outputs])
            return InferenceFunction(model, self._engine, self._precision)
        ov = _quiet_openvino()
        part = copy.copy(self)  # the conversion, which takes the most time, is not repeated
        results = [self._converted.outputs[i].get_node().input_value(0) for i in outputs]
        part._converted = ov.Model(results, self._converted.get_parameters())
        part._lock, part._run = threading.Lock(), part._made()
        return part

    def __call__(self, *inputs: npt.NDArray[Any]) -> ArrayTuple:
        count, size = len(inputs[0]), CHUNK_SIZES[self._engine]
        padded = -count % size
        if padded:
            inputs = tuple(np.concatenate([x, np.repeat(x[-1:], padded, axis=0)]) for x in inputs)
        chunks = [tuple(x[i : i + size] for x in inputs) for i in range(0, count, size)]
        with self._lock:
            outputs = self._run(chunks)
        return tuple(np.concatenate(parts)[:count] for parts in zip(*outputs, strict=True))


def _specs(model: Any) -> list[Any]:
    """Inputs of the traced function: images as uint8, a quarter of the bytes to move; activations as float32."""
    import tensorflow as tf

    kinds = [tf.uint8 if x.name == "images" else tf.float32 for x in model.inputs]
    return [
        tf.TensorSpec((None, *x.shape[1:]), kind, name=f"x{i}")
        for i, (x, kind) in enumerate(zip(model.inputs, kinds, strict=True))
    ]


def _traced(model: Any, precision: str) -> Any:
    """The network in inference mode as a concrete function."""
    import keras
    import tensorflow as tf

    from thaw.models.precision import computing_in

    def call(*inputs: Any) -> list[Any]:
        given = [tf.cast(x, tf.float32) for x in inputs]
        outputs = model(keras.tree.pack_sequence_as(model.input, given), training=False)
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        return [tf.cast(y, tf.float32) for y in outputs]

    with computing_in(model, precision):
        return tf.function(call, autograph=False).get_concrete_function(*_specs(model))


def _quiet_openvino() -> Any:
    """Import OpenVINO without its telemetry.

    Its converter otherwise forks this process at every call to report to a server of Google's, and writes to ~/intel;
    without the package it takes a stand-in of its own (openvino/tools/ovc/telemetry_utils.py).
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # an import of it fails
    import openvino

    return openvino


def _converted(model: Any) -> Any:
    """The network as OpenVINO's own, outputs in the same order and no others.

    The conversion adds one for every operation whose gradient is Keras's own (49 in EfficientNetB0, for its swish),
    and each would be computed to the end and copied.
    """
    ov = _quiet_openvino()
    with backend.quiet_stderr(), propagate_signals():
        converted = ov.convert_model(_traced(model, "float32"))
    if len(converted.outputs) == len(model.outputs):
        return converted
    results = [output.get_node().input_value(0) for output in converted.outputs[: len(model.outputs)]]
    return ov.Model(results, converted.get_parameters())


def _openvino(converted: Any, precision: str) -> ChunkRunner:
    ov = _quiet_openvino()
    compiled = ov.Core().compile_model(
        converted,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}[precision],
            # Streams of their own cores: images are decoded at the same time, and no stream waits for another's share.
            "PERFORMANCE_HINT": "THROUGHPUT",
        },
    )
    # Requests in turn, without callbacks: OpenVINO's queue runs those in threads of its own, and now and then the last
    # of them ends the process when it is torn down ("Resource deadlock avoided").
    requests = [
        compiled.create_infer_request() for _ in range(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
    ]
    places = [_place(compiled, i) for i in range(len(compiled.inputs))]

    def run(chunks: list[ArrayTuple]) -> list[ArrayTuple]:
        found: list[ArrayTuple] = []
        for i in range(len(chunks) + len(requests)):
            request = requests[i % len(requests)]
            if len(requests) <= i:
                request.wait()
                # Copied: the request's tensors are used again for a later chunk.
                outputs = (request.get_output_tensor(k) for k in range(len(compiled.outputs)))
                found.append(tuple(np.array(y.data) for y in outputs))
            if i < len(chunks):
                request.start_async(dict(zip(places, chunks[i], strict=True)))
            if len(found) == len(chunks):
                break
        return found

    return run


def _place(compiled: Any, i: int) -> int:
    """Where input i of the traced function went: the conversion may order inputs anew."""
    return next(k for k, x in enumerate(compiled.inputs) if any(n.split(":")[0] == f"x{i}" for n in x.get_names()))


def _tensorflow(model: Any, precision: str) -> ChunkRunner:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # With its weights as constants the graph is folded and fused, BatchNorm into convolutions among them.
    with backend.quiet_stderr():
        frozen = convert_variables_to_constants_v2(_traced(model, precision))

    def run(chunks: list[ArrayTuple]) -> list[ArrayTuple]:
        return [tuple(y.numpy() for y in frozen(*(tf.constant(x) for x in chunk))) for chunk in chunks]

    return run


def _keras(model: Any, precision: str) -> ChunkRunner:
    import keras

    from thaw.models.precision import computing_in

    def run(chunks: list[ArrayTuple]) -> list[ArrayTuple]:
        found = []
        with computing_in(model, precision):
            for chunk in chunks:
                given = [x.astype(np.float32) for x in chunk]
                outputs = model(keras.tree.pack_sequence_as(model.input, given), training=False)
                found.append(tuple(np.asarray(y, np.float32) for y in keras.tree.flatten(outputs)))
        return found

    return run


def keras_float32() -> EngineChoice:
    """What every engine is held against: Keras in float32."""
    import tensorflow as tf

    device = "gpu" if tf.config.list_physical_devices("GPU") else "cpu"
    tf32 = device == "gpu" and tf.config.experimental.tensor_float_32_execution_enabled()
    return EngineChoice("keras", importlib.metadata.version("keras"), "float32", "float32", device, tf32)

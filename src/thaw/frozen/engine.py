"""Inference engines: OpenVINO on CPUs, a frozen TensorFlow graph on GPUs and where OpenVINO is not installed."""

import importlib.metadata
import importlib.util
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.common import tensorflow_setup
from thaw.common.errors import UserError
from thaw.common.hardware import Hardware
from thaw.common.signals import propagate_signals
from thaw.frozen.openvino_runtime import import_openvino, openvino_core

ArrayTuple = tuple[npt.NDArray[Any], ...]
ChunkRunner = Callable[[list[ArrayTuple]], list[ArrayTuple]]  # chunks of inputs -> chunks of outputs

# Images per request. A batch is divided into requests of this size and the last one is padded, so an image's output is
# the same bit for bit whatever its neighbours. OpenVINO is fastest at 8 (more images leave the processor's cache).
# Keras in eager mode keeps the outputs of all layers until the end: InceptionV3 on 32 photos took 5 GB.
CHUNK_SIZES = {"openvino": 8, "tensorflow": 32, "keras": 8}


_small_requests: ContextVar[bool] = ContextVar("small_requests", default=False)


@contextmanager
def small_requests() -> Iterator[None]:
    """Pad a batch's last request to 1, 2 or 4 images where that is enough, in this block and thread.

    One image of EfficientNet-Lite0 then takes a fifth of the time. An engine may compute few images by other kernels,
    whose last bits differ, so who uses this compares both ways first, as `serve.small_batches` does.
    """
    token = _small_requests.set(True)
    try:
        yield
    finally:
        _small_requests.reset(token)


@dataclass(frozen=True)
class EngineChoice:
    """An engine, and the precisions of the frozen part and of training; result.json holds the fields by these names.

    The engine is openvino, tensorflow or keras: Keras in eager mode is the reference for the other two, and fast enough
    for a head alone.
    """

    engine: str
    version: str  # of the engine's package
    frozen: str  # precision of frozen layers: float32, bfloat16, float16 or int8
    trained: str  # precision of training: of dense layers and convolutions
    device: str = "cpu"  # or gpu: they round differently
    tf32: bool = False  # a GPU may compute float32 products with 10 bits of mantissa (TensorFloat-32)
    draft: bool = False  # precision=draft: the figures are for comparing runs, not for judging one
    training_step: str = "keras"  # or folded: how thawed layers are computed, see `models.folding`
    trained_depthwise: str = ""  # precision of depthwise convolutions in training; empty: that of `trained`
    devices: int = 1  # that training is spread over; the engine computes on one

    @property
    def evaluated(self) -> str:
        """Return the precision in which the engine runs the trained part of a network that has been trained."""
        return self.trained_depthwise or self.trained

    def summary(self) -> str:
        """Return the choice as one printed line."""
        names = {"openvino": "OpenVINO", "tensorflow": "TensorFlow"}
        device = f" on the GPU{', TensorFloat-32 allowed' if self.tf32 else ''}" if self.device == "gpu" else ""
        depthwise = f", depthwise in {self.trained_depthwise}" if self.trained_depthwise else ""
        spread = f" · spread over {self.devices} devices" if self.devices > 1 else ""
        return (
            f"{names[self.engine]} {self.version} in {self.frozen} for what is frozen · training in "
            f"{self.trained}{depthwise}{device}{spread}{' · draft' if self.draft else ''}"
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
    training_step: str = "keras",
) -> EngineChoice:
    """Resolve `auto` for engine, precisions and training step on this machine.

    TensorFloat-32 is allowed on a GPU if no precision is float32 by request and the run need not be deterministic:
    TensorFlow allows it by default, and a "float32" of 10 bits is no float32. `start_tensorflow` sets it.

    Args:
        engine: auto, openvino or tensorflow.
        precision: of training, and of the frozen part if `frozen_precision` is auto. draft: training as with auto, and
            of the frozen part the fastest, int8 where NNCF is installed and the processor multiplies bytes fast.
            Quantising takes as long as int8 saves on 2,600 images against float32, and on 10,000 against bfloat16.
        frozen_precision: of the frozen part.
        depthwise: the network has depthwise convolutions, which rule out bfloat16 for its frozen part by default:
            features of EfficientNet-Lite0 were off by 9 % of their spread on CIFAR-10 at 160 pixels, and 2.7 % of 5,000
            images got another class; those of MobileNet 0.25 by 30 % on digits, and 5.6 %. In a folded training step
            they compute in float32, whose filter gradients are 3 to 6 times as fast on CPUs, and all else in bfloat16;
            in Keras's, all in float32 (MobileNetV2 from layer 100: 239 images/s, 193 in bfloat16).
        trains_backbone: a part of the backbone trains; a head alone is too small to gain from a lower precision.
        hardware: what this machine has.
        deterministic: the run must be deterministic.
        training_step: auto, folded or keras; auto is folded on CPUs, for which its kernels are.

    Raises:
        UserError: this machine cannot do what was requested.
    """
    check_engine(engine, precision, frozen_precision, hardware)
    draft = precision == "draft"
    precision = "auto" if draft else precision
    requested = precision if frozen_precision == "auto" else frozen_precision
    if engine == "auto":
        possible = hardware.openvino and not _lacks_float16(precision, frozen_precision, hardware)
        engine = "openvino" if possible and not hardware.gpu_capabilities else "tensorflow"
    if training_step == "folded" and hardware.gpu_capabilities:
        raise UserError("training_step=folded is for CPUs, and this machine trains on a GPU. Set training_step=auto")
    if training_step == "auto":
        training_step = "keras" if hardware.gpu_capabilities or not trains_backbone else "folded"
    fast = fast_depthwise = hardware.fastest_precision(engine)
    if draft and requested == "auto":
        requested = "int8" if engine == "openvino" and hardware.int8 and nncf_installed() else fast
    if depthwise and fast == "bfloat16":
        fast_depthwise = "float32"
    tf32 = bool(hardware.gpu_capabilities) and not deterministic and "float32" not in (precision, frozen_precision)
    if precision == "auto":
        precision = "float32"
        if trains_backbone:
            precision = fast if training_step == "folded" else fast_depthwise
    return EngineChoice(
        engine=engine,
        version=importlib.metadata.version(engine),
        frozen=fast_depthwise if requested == "auto" else requested,
        trained=precision,
        device="gpu" if hardware.gpu_capabilities else "cpu",
        tf32=tf32,
        draft=draft,
        training_step=training_step,
        trained_depthwise="float32" if depthwise and training_step == "folded" else "",
    )


def check_engine(engine: str, precision: str, frozen_precision: str, hardware: Hardware) -> None:
    """Raise UserError if this machine cannot run the requested engine and precisions.

    Of the hardware what `detect_processor` knows is enough, so TensorFlow need not be imported.
    """
    if frozen_precision == "int8":
        _check_int8(engine, hardware)
    if engine != "openvino":
        return
    if not hardware.openvino:
        raise UserError("engine=openvino: the package openvino is not installed. Install it, or set engine=auto")
    if _lacks_float16(precision, frozen_precision, hardware):
        raise UserError(
            "engine=openvino in float16: this processor does not compute in float16. Set precision=bfloat16, float32 "
            "or auto, or engine=tensorflow"
        )


def _check_int8(engine: str, hardware: Hardware) -> None:
    """Raise UserError where nothing computes in int8: that is OpenVINO on a CPU, and NNCF, which quantises for it."""
    asked, remedy = "frozen_precision=int8", "or leave frozen_precision out"
    if engine == "tensorflow":
        raise UserError(f"{asked} is computed by OpenVINO: set engine=openvino instead of tensorflow, {remedy}")
    if not hardware.openvino:
        raise UserError(f"{asked} needs the package openvino, which is not installed. Install it, {remedy}")
    if engine == "auto" and (hardware.gpu_capabilities or hardware.gpu_visible):
        raise UserError(
            f"{asked} is computed on the processor, and this machine has a GPU, which engine=auto would use: set "
            f"engine=openvino, {remedy}"
        )
    if not nncf_installed():
        raise UserError(
            f"{asked} needs the package nncf, which is not installed: it is thaw's extra int8. Install it with pip "
            f"install '.[int8]' in a checkout or with pip install 'nncf>=3.4,<4', {remedy}"
        )


def nncf_installed() -> bool:
    """Return whether NNCF is there, without importing it."""
    return importlib.util.find_spec("nncf") is not None


def _lacks_float16(precision: str, frozen_precision: str, hardware: Hardware) -> bool:
    """Whether float16 is requested of a processor without it; OpenVINO would silently compute in bfloat16."""
    return "float16" in (precision, frozen_precision) and not hardware.float16


class InferenceFunction:
    """A network in inference mode as a fast function: arrays (B, ...) -> a tuple of float32 arrays (B, ...).

    The model's input named `images` takes uint8, all others float32. Threads may share the function; they take turns.
    It has a copy of the weights, except with the engine keras.

    Args:
        model: of Keras; with `converted` it is not used.
        engine: openvino, tensorflow or keras.
        precision: of computation. int8 is that of a quantised network, whose other operations are in float32.
        converted: OpenVINO's model of the same network, if there is one already; in int8 the quantised one.
        chunk: images of a request; None: as in CHUNK_SIZES.
        threads: of OpenVINO, whose results do not depend on them; None: as it chooses, one a core.
    """

    def __init__(
        self,
        model: Any,
        engine: str,
        precision: str,
        converted: Any = None,
        chunk: int | None = None,
        threads: int | None = None,
    ) -> None:
        if precision == "int8" and converted is None:
            raise ValueError("int8 needs a quantised network")
        self._chunk, self._lock = chunk or CHUNK_SIZES[engine], threading.Lock()
        self._may_shrink = engine != "keras"  # a head alone, which gains no time and rounds otherwise for one image
        if engine == "openvino":
            self._run = _openvino(convert_to_openvino(model) if converted is None else converted, precision, threads)
        else:
            self._run = {"tensorflow": _tensorflow, "keras": _keras}[engine](model, precision)

    def __call__(self, *inputs: npt.NDArray[Any]) -> ArrayTuple:
        """Return the outputs for a batch of any size."""
        count, size = len(inputs[0]), self._chunk
        rest = count % size
        padded = -rest % (1 << (rest - 1).bit_length() if rest and self._may_shrink and _small_requests.get() else size)
        if padded:
            inputs = tuple(np.concatenate([x, np.repeat(x[-1:], padded, axis=0)]) for x in inputs)
        chunks = [tuple(x[i : i + size] for x in inputs) for i in range(0, count, size)]
        with self._lock:
            outputs = self._run(chunks)
        return tuple(np.concatenate(parts)[:count] for parts in zip(*outputs, strict=True))


def _input_specs(model: Any) -> list[Any]:
    """Return the inputs of the traced function: images as uint8, a quarter of the bytes; activations as float32."""
    import tensorflow as tf

    return [
        tf.TensorSpec((None, *x.shape[1:]), tf.uint8 if x.name == "images" else tf.float32, name=f"x{i}")
        for i, x in enumerate(model.inputs)
    ]


def _trace(model: Any, precision: str) -> Any:
    """Return the network in inference mode as a concrete function of TensorFlow."""
    import keras
    import tensorflow as tf

    from thaw.models.compute_precision import computing_in

    def call(*inputs: Any) -> list[Any]:
        floats = [tf.cast(x, tf.float32) for x in inputs]
        outputs = model(keras.tree.pack_sequence_as(model.input, floats), training=False)
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        return [tf.cast(y, tf.float32) for y in outputs]

    with computing_in(model, precision):
        return tf.function(call, autograph=False).get_concrete_function(*_input_specs(model))


def convert_to_openvino(model: Any) -> Any:
    """Return the network as OpenVINO's model with the same outputs in the same order.

    The conversion adds an output for every operation with a custom gradient (49 in EfficientNetB0, for its swish);
    they are removed, as each would be computed and copied.
    """
    ov = import_openvino()
    with tensorflow_setup.quiet_stderr(), propagate_signals(), _fast_variable_lookup():
        converted = ov.convert_model(_trace(model, "float32"))
    if len(converted.outputs) == len(model.outputs):
        return converted
    results = [output.get_node().input_value(0) for output in converted.outputs[: len(model.outputs)]]
    return ov.Model(results, converted.get_parameters())


@contextmanager
def _fast_variable_lookup() -> Iterator[None]:
    """Let OpenVINO look variables up in a table during a conversion, as it searches all of them for each one.

    The search took a third of InceptionV3's conversion, and grows with the square of the number of variables. An
    OpenVINO whose code is another is left as it is.
    """
    from openvino.frontend.tensorflow.node_decoder import TFGraphNodeDecoder

    search = getattr(TFGraphNodeDecoder, "get_variable", None)
    if search is None or list(inspect.signature(search).parameters) != ["operation"]:
        yield
        return
    tables: dict[int, dict[str, Any]] = {}

    def look_up(operation: Any) -> Any:
        graph = operation.graph
        if not hasattr(graph, "captures"):
            return search(operation)
        if id(graph) not in tables:
            variables = {id(variable.handle): variable for variable in graph.variables}
            tables[id(graph)] = {inner.name: variables.get(id(outer), outer) for outer, inner in graph.captures}
        found: Any = tables[id(graph)].get(operation.outputs[0].name)
        if not hasattr(found, "read_value_no_copy"):  # not a variable
            return search(operation)
        return found.read_value_no_copy()

    TFGraphNodeDecoder.get_variable = staticmethod(look_up)
    try:
        yield
    finally:
        TFGraphNodeDecoder.get_variable = staticmethod(search)


# What int8 leaves in floating point is float32: it takes little time, and bfloat16 would add an error of its own.
_PRECISION_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "int8": "f32"}


def _openvino(converted: Any, precision: str, threads: int | None) -> ChunkRunner:
    compiled = openvino_core().compile_model(
        converted,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": _PRECISION_HINTS[precision],
            # Each stream has its own cores: while images are decoded, no stream waits for another one.
            "PERFORMANCE_HINT": "THROUGHPUT",
            # Of several processes each would pin its first thread to the first core.
            **({} if threads is None else {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}),
        },
    )
    # Requests are used in turn instead of OpenVINO's AsyncInferQueue, whose callbacks run in threads of its own:
    # sometimes the last thread ended the process at its destruction ("Resource deadlock avoided").
    requests = [
        compiled.create_infer_request() for _ in range(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
    ]
    input_indices = [_input_index(compiled, i) for i in range(len(compiled.inputs))]

    def run(chunks: list[ArrayTuple]) -> list[ArrayTuple]:
        outputs: list[ArrayTuple] = []
        for i in range(len(chunks) + len(requests)):
            request = requests[i % len(requests)]
            if len(requests) <= i:
                request.wait()
                # Copied, as a later chunk overwrites the tensors of the request.
                tensors = (request.get_output_tensor(k) for k in range(len(compiled.outputs)))
                outputs.append(tuple(np.array(y.data) for y in tensors))
            if i < len(chunks):
                request.start_async(dict(zip(input_indices, chunks[i], strict=True)))
            if len(outputs) == len(chunks):
                break
        return outputs

    return run


def _input_index(compiled: Any, i: int) -> int:
    """Return the position of input i of the traced function; the conversion may reorder inputs."""
    return next(k for k, x in enumerate(compiled.inputs) if any(n.split(":")[0] == f"x{i}" for n in x.get_names()))


def _tensorflow(model: Any, precision: str) -> ChunkRunner:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # With weights as constants TensorFlow folds and fuses the graph, such as BatchNorm into convolutions.
    with tensorflow_setup.quiet_stderr():
        frozen = convert_variables_to_constants_v2(_trace(model, precision))

    def run(chunks: list[ArrayTuple]) -> list[ArrayTuple]:
        return [tuple(y.numpy() for y in frozen(*(tf.constant(x) for x in chunk))) for chunk in chunks]

    return run


def _keras(model: Any, precision: str) -> ChunkRunner:
    import tensorflow as tf

    from thaw.models.compute_precision import computing_in
    from thaw.models.eager_keras import run_operations

    def run(chunks: list[ArrayTuple]) -> list[ArrayTuple]:
        results = []
        with computing_in(model, precision):
            for chunk in chunks:
                outputs = run_operations(model, [tf.constant(x.astype(np.float32)) for x in chunk])
                results.append(tuple(np.asarray(y, np.float32) for y in outputs))
        return results

    return run


def keras_float32() -> EngineChoice:
    """Return the reference for all engines: Keras in eager mode, in float32."""
    import tensorflow as tf

    device = "gpu" if tf.config.list_physical_devices("GPU") else "cpu"
    tf32 = device == "gpu" and tf.config.experimental.tensor_float_32_execution_enabled()
    return EngineChoice("keras", importlib.metadata.version("keras"), "float32", "float32", device, tf32)

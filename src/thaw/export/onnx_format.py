"""Format onnx: written by Keras through tf2onnx; lower precisions by ONNX Runtime's own tools."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thaw.common.errors import UserError, joined
from thaw.export.portable_network import INPUT, ExportSource, input_signature, portable_network

if TYPE_CHECKING:
    from thaw.export.portable_network import Runtime

FILE = "model.onnx"
# The rest stays in float32, the softmax among it, which 256 steps would round to 0.4 %. So do the preprocessing and the
# head: they take no time, and in int8 a clothing classifier's probabilities were off by 0.009 on average, not by 0.007.
QUANTIZED_OPERATIONS = ["Conv", "MatMul", "Gemm", "Add", "Clip", "Relu", "GlobalAveragePool", "MaxPool", "AveragePool"]


def write(source: ExportSource, folder: Path, precision: str) -> None:
    """Write the network; its metadata are ONNX's `metadata_props`."""
    import onnx

    file = folder / FILE
    network = portable_network(source)
    with _constants_in_the_graph(source.model), _known_operations():
        network.export(str(file), format="onnx", verbose=False, input_signature=input_signature(source))
    model = onnx.load(file)
    if lost := [entry.name for entry in model.graph.input if entry.name != INPUT]:
        raise UserError(f"format=onnx: the converter tf2onnx loses constants of this network ({joined(lost)})")
    for name in (model.graph.input[0], model.graph.output[0]):
        name.type.tensor_type.shape.dim[0].dim_param = "batch"
    if precision == "float16":
        from onnxruntime.transformers.float16 import convert_float_to_float16

        model = convert_float_to_float16(model, keep_io_types=True)
    elif precision == "int8":
        model = _quantized(source, model)
    onnx.helper.set_model_props(model, source.metadata)
    onnx.save(model, file)


@contextmanager
def _constants_in_the_graph(model: Any) -> Iterator[None]:
    """Let Normalization layers have their mean and variance as arrays of NumPy's.

    TensorFlow's tensors are captured by the traced function, and tf2onnx 1.17 takes captured ones for inputs.
    """
    import keras

    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Normalization)]
    own = [(layer, layer.mean, layer.variance) for layer in layers]
    try:
        for layer, mean, variance in own:
            layer.mean, layer.variance = np.asarray(mean), np.asarray(variance)
        yield
    finally:
        for layer, mean, variance in own:
            layer.mean, layer.variance = mean, variance


@contextmanager
def _known_operations() -> Iterator[None]:
    """Let Keras trace what tf2onnx 1.17 knows; ConvNeXt needs both, and Keras has no switch for either.

    Convolutions in groups are compiled with XLA (`_conv_xla` in Keras's TensorFlow backend), whose calls tf2onnx does
    not look into. TensorFlow's exact GELU is made of Erfc, for which tf2onnx has no operation; Erf says the same.
    """
    import tensorflow as tf

    function, gelu = tf.function, tf.nn.gelu

    def without_xla(func: Any = None, **settings: Any) -> Any:
        return function(func, **{**settings, "jit_compile": None})

    def with_erf(features: Any, approximate: bool = False, name: str | None = None) -> Any:
        if approximate:
            return gelu(features, approximate=True, name=name)
        return 0.5 * features * (1.0 + tf.math.erf(features / 2**0.5))

    tf.function, tf.nn.gelu = without_xla, with_erf
    try:
        yield
    finally:
        tf.function, tf.nn.gelu = function, gelu


def _quantized(source: ExportSource, model: Any) -> Any:
    """Return the network with int8 weights by channel and uint8 activations, in ONNX's form QDQ."""
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from thaw.models.network import HEAD_LAYERS

    class Images(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._images: Iterator[dict[str, Any]] = source.calibration_images()

        def get_next(self) -> dict[str, Any] | None:
            return next(self._images, None)

    with tempfile.TemporaryDirectory(prefix="thaw-") as folder:
        written, prepared, quantized = (Path(folder, f"{name}.onnx") for name in ("written", "prepared", "quantized"))
        onnx.save(model, written)
        # Multiplies BatchNorm into convolutions first. Its symbolic part needs sympy, and is for transformers.
        quant_pre_process(str(written), str(prepared), skip_symbolic_shape=True)
        parts = ("preprocess", *HEAD_LAYERS)
        nodes = [node.name for node in onnx.load(prepared).graph.node]
        quantization.quantize_static(
            str(prepared),
            str(quantized),
            Images(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=QUANTIZED_OPERATIONS,
            nodes_to_exclude=[name for name in nodes if any(f"/{part}" in name for part in parts)],
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return onnx.load(quantized)


def load(folder: "Path") -> "Runtime":
    """Return the network as ONNX Runtime runs it on the processor."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])

    def run(images):  # type: ignore[no-untyped-def]
        return session.run(["probabilities"], {"image": images})[0]

    return run

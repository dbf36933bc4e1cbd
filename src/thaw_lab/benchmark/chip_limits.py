"""What the chip does at most, through the libraries that thaw computes with: large products of matrices, and copies.

python -m thaw_lab.benchmark.chip_limits --library openvino
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

SIZES = (1024, 2048)  # of the square matrices; larger ones are no faster
REPEATS = 8  # of each product and copy; the best one counts, as it is the limit
DEPTH = 2  # products in a row: a conversion of the input's type is a smaller part of the time
COPY_BYTES = 2**28  # far larger than the processor's cache
SOURCES = {
    "openvino": "OpenVINO: MatMul with constant weights, one request on all cores",
    "tensorflow": "TensorFlow: tf.matmul in a tf.function",
    "memory": "numpy.copyto in a thread a core",
}


def main() -> None:
    """Measure one library's limits and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", choices=tuple(SOURCES), required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="sides of the matrices")
    parser.add_argument("--json", default="limits.json", help="file for what was measured")
    args = parser.parse_args()
    measure = {"openvino": openvino_products, "tensorflow": tensorflow_products}
    if args.library == "memory":
        report = {"limits": {"": _best([(2e-9 * COPY_BYTES, memory_copy())])}}
    else:
        products: dict[str, list[tuple[float, Callable[[], Any]]]] = {}
        for size in args.sizes:
            for precision, run in measure[args.library](size):
                products.setdefault(precision, []).append((2e-9 * DEPTH * size**3, run))
        report = {"limits": {precision: _best(runs) for precision, runs in products.items()}}
    Path(args.json).write_text(json.dumps({**report, "sizes": list(args.sizes)}))


def _best(runs: list[tuple[float, Callable[[], Any]]]) -> float:
    """Return the highest speed, in the unit of the works a second. runs: the work, and what does it."""
    speeds = []
    for work, run in runs:
        run()  # allocates memory, packs weights
        for _ in range(REPEATS):
            started = time.perf_counter()
            run()
            speeds.append(work / (time.perf_counter() - started))
    return max(speeds)


def openvino_products(size: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield precision and product: models of MatMul alone, on all cores at once."""
    import numpy as np

    from thaw.frozen.openvino_runtime import import_openvino, openvino_core

    ov = import_openvino()
    values = np.random.default_rng(0).standard_normal((size, size)).astype(np.float32)
    for precision, hint in (("float32", "f32"), ("bfloat16", "bf16"), ("int8", "f32")):
        hints = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
        compiled = openvino_core().compile_model(_matmul_model(ov, values, precision), "CPU", hints)
        request = compiled.create_infer_request()
        request.set_input_tensor(ov.Tensor(values))
        yield precision, request.infer


def _matmul_model(ov: Any, values: Any, precision: str) -> Any:
    """Return a model of DEPTH products with constant weights; int8: inputs and weights are quantized as NNCF does."""
    import numpy as np
    from openvino import opset13 as op

    def quantized(tensor: Any, low: float, high: float, levels: int) -> Any:
        ends = [op.constant(np.float32(end)) for end in (low, high)]
        return op.fake_quantize(tensor, *ends, *ends, levels)

    x = y = op.parameter(values.shape, np.float32)
    for _ in range(DEPTH):
        weights = op.constant(values / np.sqrt(np.float32(len(values))))
        if precision == "int8":
            y, weights = quantized(op.relu(y), 0.0, 4.0, 256), quantized(weights, -0.2, 0.2, 255)
        y = op.matmul(y, weights, False, True)
    return ov.Model([y], [x])


def tensorflow_products(size: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield precision and product."""
    from thaw.common import tensorflow_setup

    tensorflow_setup.import_tensorflow()
    import tensorflow as tf

    def product(x: Any, weights: Any) -> Any:
        for _ in range(DEPTH):
            x = tf.matmul(x, weights)
        return x

    values = tf.random.stateless_normal((size, size), (0, 0))
    for precision in ("float32", "bfloat16"):
        x, weights = tf.cast(values, precision), tf.cast(values / size**0.5, precision)
        function = tf.function(product, autograph=False).get_concrete_function(x, weights)
        yield precision, partial(_wait_for, function, x, weights)


def _wait_for(function: Any, *arguments: Any) -> None:
    function(*arguments)[0, 0].numpy()


def memory_copy() -> Callable[[], Any]:
    """Return what copies COPY_BYTES, each byte read and written."""
    import numpy as np

    from thaw.common.hardware import cpu_count

    cores = cpu_count()
    source = np.ones(COPY_BYTES, np.uint8)
    target = np.empty_like(source)
    threads = ThreadPoolExecutor(cores)
    parts = list(zip(np.array_split(target, cores), np.array_split(source, cores), strict=True))
    return lambda: list(threads.map(lambda part: np.copyto(*part), parts))


if __name__ == "__main__":
    main()

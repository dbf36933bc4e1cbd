"""An inference function computes what its network does, on every engine."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from thaw.common import hardware
from thaw.frozen import engine, openvino_runtime
from thaw.frozen.engine import CHUNK_SIZES, InferenceFunction, small_requests

SIZE = 64
ENGINES = tuple(CHUNK_SIZES)


@pytest.fixture(scope="module")
def joined():
    """MobileNetV2 with random weights, its BatchNorm calibrated: otherwise every feature fades to zero."""
    from thaw.common import tensorflow_setup
    from thaw.config.schema import BackboneConfig, HeadConfig
    from thaw.models import backbones, network

    tensorflow_setup.start_tensorflow(0, deterministic=True)
    built = backbones.build_backbone(BackboneConfig(name="mobilenetv2", alpha=0.35, image_size=SIZE, weights="none"))
    normalizations = [x for x in built.layers if hasattr(x, "moving_mean")]
    for x in normalizations:
        x.momentum = 0.0
    built.model([pictures(8, seed=1).astype(np.float32)], training=True)
    return network.attach_head(built, HeadConfig(name="linear"), ("a", "b", "c"))


@pytest.fixture(scope="module")
def parts(joined):
    """Parted at a cut of three tensors with three shapes."""
    from thaw.models import freeze, network

    graph = joined.backbone.graph
    plans = (freeze.make_plan(n, graph, "mobilenetv2", "frozen") for n in range(20, len(graph.layers)))
    plan = next((p for p in plans if len(p.cut_names) > 1), None)
    assert plan is not None
    return network.divide_network(joined, plan, network.cut_at(joined, plan.boundary))


@pytest.fixture(scope="module")
def forked():
    """images -> three tensors of three shapes, given out in another order than they are computed in."""
    from thaw.common import tensorflow_setup

    tensorflow_setup.start_tensorflow(0, deterministic=True)
    import keras

    layers = keras.layers
    images = keras.Input((SIZE, SIZE, 3), name="images")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="preprocess")(images)
    first = layers.Conv2D(4, 3, strides=2, activation="relu", name="first")(x)
    second = layers.Conv2D(6, 3, strides=2, activation="relu", name="second")(first)
    third = layers.GlobalAveragePooling2D(name="third")(layers.Conv2D(40, 3, name="conv")(second))
    return keras.Model([images], [second, third, first])


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.uint8)


_MADE: dict[tuple, InferenceFunction] = {}


def function(model, engine: str, precision: str = "float32") -> InferenceFunction:
    """A Function takes a second to make: each is made once."""
    key = (id(model), engine, precision)
    if key not in _MADE:
        _MADE[key] = InferenceFunction(model, engine, precision)
    return _MADE[key]


def keras_outputs(model, *inputs: np.ndarray) -> list[np.ndarray]:
    outputs = model([x.astype(np.float32) for x in inputs], training=False)
    return [np.asarray(y) for y in (outputs if isinstance(outputs, (list, tuple)) else [outputs])]


def assert_same(found, expected, tolerance: float = 1e-4) -> None:
    """Every tensor to a share of its own scale."""
    assert [y.shape for y in found] == [y.shape for y in expected]
    for y, right in zip(found, expected, strict=True):
        assert y.dtype == np.float32
        assert np.abs(right).max() > 0.01, "all zero: nothing is compared"
        np.testing.assert_allclose(y, right, atol=tolerance * np.abs(right).max(), rtol=0)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_cut_of_three_tensors_is_kerass_own_in_its_order(forked, engine: str) -> None:
    images = pictures(5)
    found = function(forked, engine)(images)
    assert isinstance(found, tuple)
    assert len({y.shape for y in found}) == 3
    assert_same(found, keras_outputs(forked, images))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_frozen_part_of_a_real_network_is_kerass_own(parts, engine: str) -> None:
    images = pictures(11)
    assert len(parts.cut.names) > 1
    assert_same(function(parts.frozen, engine)(images), keras_outputs(parts.frozen, images))


@pytest.mark.parametrize("engine", ENGINES)
def test_several_inputs_each_go_to_their_place(joined, parts, engine: str) -> None:
    images = pictures(9)
    given = keras_outputs(parts.frozen, images)
    assert len(given) > 1
    (found,) = function(parts.trained, engine)(*given)
    assert_same([found], keras_outputs(joined.model, images))
    assert np.ptp(found, axis=0).max() > 1e-2, "images differ"


@pytest.mark.parametrize("engine", ENGINES)
def test_inputs_of_equal_shape_are_not_exchanged(engine: str) -> None:
    from thaw.common import tensorflow_setup

    tensorflow_setup.import_tensorflow()
    import keras

    a, b, c = (keras.Input((6,)) for _ in range(3))
    made = InferenceFunction(
        keras.Model([a, b, c], keras.ops.concatenate([c * 4, a + b * 2], axis=-1)), engine, "float32"
    )
    x = np.random.default_rng(0).normal(size=(3, 5, 6)).astype(np.float32)
    (found,) = made(*x)
    np.testing.assert_allclose(found, np.concatenate([x[2] * 4, x[0] + x[1] * 2], axis=1), rtol=1e-6)


def openvino_has_bfloat16() -> bool:
    return "BF16" in openvino_runtime.openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


PRECISIONS = [(engine, precision) for engine in ENGINES for precision in ("float32", "bfloat16")]


@pytest.mark.parametrize(("engine", "precision"), PRECISIONS)
def test_an_images_output_is_the_same_bit_for_bit_in_any_batch(parts, engine: str, precision: str) -> None:
    """Whatever its neighbours, the batch's size and its place in it: rows kept by different runs are one row."""
    run = function(parts.frozen, engine, precision)
    images = pictures(40)
    all_at_once = run(images)
    for y, right in zip(run(images), all_at_once, strict=True):
        assert y.tobytes() == right.tobytes()
    order = np.random.default_rng(2).permutation(40)
    starts = {1: 7, 3: 20, 8: 16, 11: 29}
    for size, start in starts.items():
        for y, right in zip(run(images[start : start + size]), all_at_once, strict=True):
            assert y.shape[0] == size
            assert y.tobytes() == right[start : start + size].tobytes(), f"{size} from {start}"
    for y, right in zip(run(images[order]), all_at_once, strict=True):
        assert y.tobytes() == right[order].tobytes()


@pytest.mark.parametrize(
    ("engine", "sizes"),
    [
        ("openvino", {1: [1], 2: [2], 3: [4], 5: [8], 8: [8], 9: [8, 1], 22: [8, 8, 8]}),
        ("keras", {1: [8], 9: [8, 8]}),
    ],
)
def test_small_requests_have_as_many_images_as_they_need(
    joined, engine: str, sizes: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, images = function(joined.model, engine), pictures(22)
    sent, compute = [], run._run
    monkeypatch.setattr(run, "_run", lambda chunks: sent.append([len(x) for (x,) in chunks]) or compute(chunks))
    for count, expected in sizes.items():
        with small_requests():
            (few,) = run(images[:count])
        (padded,) = run(images[:count])
        assert sent == [expected, [8] * -(-count // 8)]
        assert few == pytest.approx(padded, abs=1e-6)
        sent.clear()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_classifiers_output_is_the_same_bit_for_bit_in_any_batch(joined, engine: str) -> None:
    """Where matrices are multiplied, the batch is one of their sides."""
    run = function(joined.model, engine)
    images = pictures(40)
    (all_at_once,) = run(images)
    assert run(images)[0].tobytes() == all_at_once.tobytes()
    if engine == "keras" and "avx512f" not in hardware.instruction_sets():
        pytest.skip("without AVX-512 the last bits of Keras's matrix products depend on the place in a batch")
    for size, start in ((1, 39), (3, 0), (11, 13)):
        assert run(images[start : start + size])[0].tobytes() == all_at_once[start : start + size].tobytes()


@pytest.mark.parametrize("engine", ENGINES)
def test_bfloat16_is_close_to_float32_and_not_float32(parts, engine: str) -> None:
    if engine == "openvino" and not openvino_has_bfloat16():
        pytest.skip("OpenVINO computes in float32 on a processor without bfloat16, whatever is asked for")
    images = pictures(8)
    whole = function(parts.frozen, engine, "float32")(images)
    half = function(parts.frozen, engine, "bfloat16")(images)
    for y, right in zip(half, whole, strict=True):
        assert y.dtype == np.float32
        error = np.linalg.norm(y - right) / np.linalg.norm(right)
        assert 1e-4 < error < 0.1


@pytest.mark.parametrize("engine", ENGINES)
def test_making_it_leaves_the_network_in_float32(parts, engine: str) -> None:
    function(parts.frozen, engine, "bfloat16")
    assert {x.dtype_policy.name for x in parts.frozen._flatten_layers()} == {"float32"}


def test_openvinos_converter_reports_to_nobody(forked) -> None:
    """Its telemetry would fork this process, write to ~/intel and call a server at every conversion."""
    import sys

    InferenceFunction(forked, "openvino", "float32")
    from openvino.tools.ovc import telemetry_utils

    assert telemetry_utils.tm.__name__ == "openvino.tools.ovc.telemetry_stub"
    assert "openvino_telemetry.backend" not in sys.modules


@pytest.mark.parametrize("engine", ["openvino", "tensorflow"])
def test_weights_are_those_of_the_moment_it_was_made(forked, engine: str) -> None:
    images = pictures(3)
    made = InferenceFunction(forked, engine, "float32")
    before = [y.copy() for y in made(images)]
    layer = forked.get_layer("conv")
    weights = layer.get_weights()
    try:
        layer.set_weights([2 * w + 1 for w in weights])
        after = made(images)
        assert not np.allclose(keras_outputs(forked, images)[1], before[1])
        for y, right in zip(after, before, strict=True):
            assert y.tobytes() == right.tobytes()
    finally:
        layer.set_weights(weights)


@pytest.mark.parametrize("engine", ENGINES)
def test_callers_at_the_same_time_get_their_own_results(parts, engine: str) -> None:
    run = function(parts.frozen, engine)
    given = [pictures(4 + 9 * i, seed=i) for i in range(4)]
    right = [[y.tobytes() for y in run(images)] for images in given]
    together = threading.Barrier(len(given))

    def call(i: int) -> list[bool]:
        together.wait()
        return [[y.tobytes() for y in run(given[i])] == right[i] for _ in range(8)]

    with ThreadPoolExecutor(len(given)) as threads:
        assert all(all(own) for own in threads.map(call, range(len(given))))


@pytest.mark.parametrize("engine", ENGINES)
def test_results_stay_when_it_is_called_again(forked, engine: str) -> None:
    """Not views of memory that the next call writes to."""
    run = function(forked, engine)
    first = run(pictures(8, seed=0))
    kept = [y.copy() for y in first]
    run(pictures(8, seed=1))
    for y, right in zip(first, kept, strict=True):
        assert y.tobytes() == right.tobytes()


BOTH_ENGINES_SCRIPT = """
import numpy as np
from thaw.common import tensorflow_setup
tensorflow_setup.start_tensorflow(0, deterministic=True)
import keras
from thaw.frozen.engine import InferenceFunction
images = keras.Input((32, 32, 3), name="images")
x = keras.layers.Conv2D(8, 3, name="conv")(images)
model = keras.Model([images], [x, keras.layers.GlobalAveragePooling2D(name="pool")(x)])
for engine in ("openvino", "tensorflow"):
    for precision in ("float32", "bfloat16"):
        run = InferenceFunction(model, engine, precision)
        print([y.shape for y in run(np.zeros((20, 32, 32, 3), np.uint8))])
"""


def test_a_process_that_used_both_engines_ends_clean() -> None:
    src = Path(__file__).parent.parent.parent / "src"
    done = subprocess.run(
        [sys.executable, "-c", BOTH_ENGINES_SCRIPT],
        env={**os.environ, "PYTHONPATH": str(src)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.count("[(20, 30, 30, 8), (20, 8)]") == 4
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("engine", ["openvino", "tensorflow"])
def test_a_function_gives_the_outputs_of_its_network_and_no_others(engine: str) -> None:
    """The conversion of swish, whose gradient is Keras's own, added an output each."""
    from thaw.common import tensorflow_setup

    tensorflow_setup.start_tensorflow(0, deterministic=True)
    import keras

    images = x = keras.Input((8, 8, 3), name="images")
    for i in range(3):
        x = keras.layers.Conv2D(4, 3, activation="swish", name=f"conv{i}")(x)
    model = keras.Model(images, x)
    given = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    found = InferenceFunction(model, engine, "float32")(given)
    assert [y.shape for y in found] == [(3, 2, 2, 4)]
    np.testing.assert_allclose(found[0], InferenceFunction(model, "keras", "float32")(given)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("threads", "pinned"), [(None, True), (1, False)])
def test_an_engine_of_several_processes_leaves_its_threads_where_the_system_puts_them(
    joined, monkeypatch: pytest.MonkeyPatch, threads: int | None, pinned: bool
) -> None:
    """Pinned, the first thread of each process would be on the first core."""
    compiled, core = [], openvino_runtime.openvino_core()

    class Core:
        def compile_model(self, *arguments):
            compiled.append(core.compile_model(*arguments))
            return compiled[-1]

    monkeypatch.setattr(engine, "openvino_core", Core)
    InferenceFunction(joined.model, "openvino", "float32", threads=threads)
    assert compiled[0].get_property("ENABLE_CPU_PINNING") is pinned
    assert threads is None or compiled[0].get_property("INFERENCE_NUM_THREADS") == threads

"""Converted networks in the cache: loaded they compute what they computed, and a fault costs only the conversion."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from thaw.cache import DiskCache
from thaw.config.schema import BackboneConfig, HeadConfig
from thaw.frozen import activations, conversion, engine
from thaw.frozen.activations import FrozenPart, build_frozen_part
from thaw.frozen.engine import EngineChoice, InferenceFunction, convert_to_openvino

from .small_network import BACKBONE, picture

CHOICE = EngineChoice("openvino", "test", "float32", "float32")
PICTURES = np.stack([picture(number) for number in range(9)])


def frozen_part(joined, store: DiskCache | None, source: FrozenPart | None = None, index: int = 50) -> FrozenPart:
    from thaw.models.network import cut_at

    return build_frozen_part(joined, cut_at(joined, index), BACKBONE, CHOICE, source, network_cache=store)


def outputs(part: FrozenPart) -> list[bytes]:
    return [tensor.tobytes() for tensor in part.inference_function()(PICTURES)]


@pytest.fixture
def conversions(monkeypatch) -> list[object]:
    """The models that were converted."""
    converted: list[object] = []
    for module in (activations, engine):
        monkeypatch.setattr(
            module, "convert_to_openvino", lambda model: converted.append(model) or convert_to_openvino(model)
        )
    return converted


ORDINARY = ("mobilenetv3small", "efficientnetb0")
FAMILIES = {
    "mobilenetv3small": 64, "efficientnetb0": 64, "densenet121": 64, "resnet50v2": 64, "convnexttiny": 64, "vgg16": 64,
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [name if name in ORDINARY else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES],
)
def test_a_loaded_network_computes_the_bytes_that_a_fresh_one_computes(store, name: str) -> None:
    from thaw.common import tensorflow_setup
    from thaw.models import backbones, network

    tensorflow_setup.start_tensorflow(0, deterministic=True)
    size = FAMILIES[name]
    built = backbones.build_backbone(BackboneConfig(name=name, image_size=size, weights="none"))
    images = np.random.default_rng(0).integers(0, 256, (9, size, size, 3)).astype(np.uint8)
    for layer in built.layers:
        if hasattr(layer, "moving_mean"):
            layer.momentum = 0.0
    built.model([images.astype(np.float32)], training=True)
    joined = network.attach_head(built, HeadConfig(name="linear"), ("a", "b"))
    cuts = [network.cut_at(joined, len(built.layers) * 2 // 3), network.feature_cut(joined)]
    model = network.frozen_submodel(joined, cuts[0])
    fresh = convert_to_openvino(network.keras.Model(model.inputs, [*cuts[0].tensors, *cuts[1].tensors]))
    conversion.converted_network(store, {"kind": "network"}, lambda: fresh)
    loaded = conversion.converted_network(store, {"kind": "network"}, lambda: pytest.fail("it was stored"))
    for precision in ("float32", "bfloat16"):
        expected, found = (InferenceFunction(None, "openvino", precision, x)(images) for x in (fresh, loaded))
        assert [y.tobytes() for y in found] == [y.tobytes() for y in expected]
        assert all(np.ptp(y) > 0 for y in found)


def test_a_part_is_converted_once_for_all_processes(store, joined, conversions) -> None:
    first = outputs(frozen_part(joined, store))
    assert len(conversions) == 1
    assert outputs(frozen_part(joined, DiskCache(store.folder, 1e9))) == first
    assert len(conversions) == 1
    assert outputs(frozen_part(joined, None)) == first


def test_parts_behind_another_cut_or_of_other_weights_are_other_networks(store, joined, conversions) -> None:
    source = frozen_part(joined, store, index=20)
    for part in (source, frozen_part(joined, store), frozen_part(joined, store, source)):
        outputs(part)
    assert len(conversions) == 3
    layer = joined.backbone.model.get_layer("conv_pw_2_bn")
    weights = layer.get_weights()
    try:
        layer.set_weights([w + 0.01 for w in weights])
        outputs(frozen_part(joined, store))
    finally:
        layer.set_weights(weights)
    assert len(conversions) == 4


def test_a_damaged_network_is_converted_again(store, joined, conversions, capsys) -> None:
    expected = outputs(frozen_part(joined, store))
    (file,) = store.folder.glob("*/*.rows")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert outputs(frozen_part(joined, store)) == expected
    assert "1 damaged row dropped" in capsys.readouterr().out
    assert outputs(frozen_part(joined, store)) == expected
    assert len(conversions) == 2


def in_the_way(folder: Path) -> DiskCache:
    folder.write_text("a file")
    return DiskCache(folder, 1e9)


CACHES = {
    "off": lambda folder: DiskCache(folder, 0.0),
    "too small": lambda folder: DiskCache(folder, 1e5),
    "too small for so large a share": lambda folder: DiskCache(folder, 8e5),
    "not to be written to": in_the_way,
}


@pytest.mark.parametrize("made", CACHES)
def test_a_cache_that_cannot_hold_it_costs_only_the_conversion(tmp_path, joined, conversions, made: str) -> None:
    store = CACHES[made](tmp_path / "cache")
    expected = outputs(frozen_part(joined, None))
    conversions.clear()
    for times in (1, 2):
        assert outputs(frozen_part(joined, store)) == expected
        assert len(conversions) == times
    assert store.used_bytes() == 0


def test_the_plan_reserves_what_a_network_takes_and_nothing_for_one_that_is_not_kept(store, joined) -> None:
    part = frozen_part(joined, store)
    outputs(part)
    assert conversion.reserved_bytes(part.model.count_params(), 1e9) >= store.used_bytes() > 0
    assert conversion.reserved_bytes(1_000_000, 3e7) == 0


def test_a_failed_conversion_is_reported_as_it_is(store) -> None:
    def fail() -> object:
        raise RuntimeError("no such operation")

    with pytest.raises(RuntimeError, match="no such operation"):
        conversion.converted_network(store, {"kind": "network"}, fail)


LOAD_SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from thaw.cache import DiskCache
from thaw.frozen import conversion
from thaw.frozen.engine import InferenceFunction
network = conversion.converted_network(DiskCache(Path(sys.argv[1]), 1e9), {"kind": "network"}, sys.exit)
(tensor,) = InferenceFunction(None, "openvino", "float32", network)(np.load(sys.argv[2]))
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
np.save(sys.argv[3], tensor)
"""


def test_another_process_loads_a_network_without_tensorflow(tmp_path, store, parts) -> None:
    network = conversion.converted_network(store, {"kind": "network"}, lambda: convert_to_openvino(parts.frozen))
    np.save(tmp_path / "in.npy", PICTURES)
    src = Path(__file__).parent.parent.parent / "src"
    arguments = [str(store.folder), str(tmp_path / "in.npy"), str(tmp_path / "out.npy")]
    subprocess.run(
        [sys.executable, "-c", LOAD_SCRIPT, *arguments], env={**os.environ, "PYTHONPATH": str(src)}, check=True
    )
    (expected,) = InferenceFunction(None, "openvino", "float32", network)(PICTURES)
    assert np.load(tmp_path / "out.npy").tobytes() == expected.tobytes()


def test_variables_looked_up_in_a_table_make_the_same_network(parts, monkeypatch) -> None:
    from contextlib import nullcontext

    fast = conversion.network_row(convert_to_openvino(parts.frozen))
    monkeypatch.setattr(engine, "_fast_variable_lookup", nullcontext)
    slow = conversion.network_row(convert_to_openvino(parts.frozen))
    weights = sum(4 * weight.size for weight in parts.frozen.get_weights())
    assert fast[-weights:].tobytes() == slow[-weights:].tobytes()
    images = [
        InferenceFunction(None, "openvino", "float32", conversion.network_from_row(row))(PICTURES)
        for row in (fast, slow)
    ]
    assert images[0][0].tobytes() == images[1][0].tobytes()

"""A small real network, images for it and its expected activations, for the tests of this folder."""

from pathlib import Path

import numpy as np
from PIL import Image

from thaw.cache import DiskCache
from thaw.config.schema import AugmentConfig, BackboneConfig, HeadConfig
from thaw.data import pixels
from thaw.data.catalog import Catalog
from thaw.data.image_batches import AugmentedView
from thaw.frozen.activations import FrozenPart
from thaw.frozen.engine import EngineChoice, InferenceFunction

SIZE = 32
BACKBONE = BackboneConfig(name="mobilenet", alpha=0.25, image_size=SIZE, weights="none")
CHOICE = EngineChoice("tensorflow", "2.21", "float32", "float32")
AUGMENT = AugmentConfig(name="light", flip=True, shift=0.2, ops=1, magnitude=5)
VIEW = AugmentedView(AUGMENT, 7, 0)


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)


def write_photos(folder: Path, numbers: list[int]) -> list[str]:
    """PNG files by number; the same number is the same picture, byte for byte."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{place:03}_{number}.png" for place, number in enumerate(numbers)]
    for path, number in zip(paths, numbers, strict=True):
        Image.fromarray(picture(number)).save(path)
    return [str(path) for path in paths]


def read_photos(folder: Path, numbers: list[int], store: DiskCache | None = None, classes: int = 2) -> pixels.Pixels:
    paths = write_photos(folder, numbers)
    labels = np.arange(len(paths), dtype=np.int32) % classes
    names = tuple(str(Path(path).relative_to(folder.parent)) for path in paths)
    given = np.full(len(paths), -1, np.int8)
    catalog = Catalog(names, tuple(paths), None, labels, tuple(f"class {i}" for i in range(classes)), given)
    return pixels.of_catalog(catalog, np.arange(len(paths)), SIZE, store)


class CountingFunction:
    """An inference function that counts its images."""

    def __init__(self, function: InferenceFunction) -> None:
        self.function, self.images = function, 0

    def __call__(self, *inputs: np.ndarray) -> tuple:
        self.images += len(inputs[0])
        return self.function(*inputs)


def build_network(head: HeadConfig):
    """MobileNet with random weights, its BatchNorm calibrated: otherwise every feature fades to zero."""
    from thaw.common import tensorflow_setup
    from thaw.models import backbones, network

    tensorflow_setup.start_tensorflow(0, deterministic=True)
    built = backbones.build_backbone(BACKBONE)
    for x in built.layers:
        if hasattr(x, "moving_mean"):
            x.momentum = 0.0
    built.model([np.stack([picture(n) for n in range(100, 108)]).astype(np.float32)], training=True)
    return network.attach_head(built, head, ("a", "b"))


def divide(network, request: object):
    from thaw.models import freeze
    from thaw.models.network import cut_at, divide_network

    plan = freeze.make_plan(request, network.backbone.graph, "mobilenet", "frozen")
    return divide_network(network, plan, cut_at(network, plan.boundary))


def frozen_part(parts, function: InferenceFunction, choice: EngineChoice = CHOICE) -> FrozenPart:
    return with_function(FrozenPart(parts.frozen, parts.cut, BACKBONE, choice), CountingFunction(function))


def with_function(frozen: FrozenPart, function: object) -> FrozenPart:
    """Let a frozen part compute with this function instead of building one."""
    vars(frozen)["own_function"] = function
    return frozen


def has_function(frozen: FrozenPart) -> bool:
    """Whether the part's network was converted."""
    return "own_function" in vars(frozen)


def computed_images(frozen: FrozenPart) -> int:
    """Images that the frozen part ran on since the last time."""
    counting = frozen.own_function
    images, counting.images = counting.images, 0
    return images


def expected_tensors(function: InferenceFunction, numbers: list[int]) -> tuple[np.ndarray, ...]:
    return function(np.stack([picture(n) for n in numbers]))


def assert_rows(found: tuple, expected: tuple) -> None:
    assert len(found) == len(expected)
    for y, z in zip(found, expected, strict=True):
        assert y.dtype == np.float32
        assert y.shape == z.shape
        assert np.abs(z).max() > 0.01
        assert y.tobytes() == np.ascontiguousarray(z).tobytes()

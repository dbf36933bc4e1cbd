"""Activations at a cut of the network: cached by image content, or computed by the engine for every batch."""

import importlib.metadata
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from thaw.cache import CachedRows, CacheFull, DiskCache, RowStore
from thaw.common import environment, hardware
from thaw.common.console import progress, say
from thaw.common.parallel import SHARD_IMAGES, ShardWorkers
from thaw.config.schema import BackboneConfig
from thaw.data import dataset_cache, decode
from thaw.data.augment import key_fields
from thaw.data.decode import DEFAULT_OPTIONS, DecodeOptions
from thaw.data.image_batches import AugmentedView, ImageBatches, view_reader
from thaw.data.pixels import Pixels
from thaw.frozen import conversion, quantization, shards
from thaw.frozen.activation_rows import BATCH_SIZE, STORAGE_DTYPES, CutArrays, pack_rows, rounded, unpack_rows
from thaw.frozen.batch_runner import prefetch
from thaw.frozen.engine import EngineChoice, InferenceFunction, convert_to_openvino
from thaw.frozen.quantization import Calibration
from thaw.frozen.shards import CutOutputs, SentNetwork, SentPart
from thaw.models import backbone_table
from thaw.models.graph_digest import graph_sha256
from thaw.models.weights_hash import weights_sha256

if TYPE_CHECKING:  # cached activations are read without Keras
    from thaw.models.network import Cut, Network

KEY_FORMAT = 2  # raise it when the same key stands for other values

# Fields of the key of activations that their network depends on too.
_NETWORK_FIELDS = (
    "backbone", "arguments", "image_size", "preprocess", "weights", "graph", "shapes", "cut", "from", "kernels",
)  # fmt: skip


def activations_key(
    model: Any,
    weights: str,
    graph: str,
    cut: Sequence[str],
    backbone: BackboneConfig,
    preprocess: str,
    choice: EngineChoice,
    view: AugmentedView | None,
    decode_options: DecodeOptions = DEFAULT_OPTIONS,
) -> dict[str, object]:
    """Return everything that activations depend on besides the bytes of an image, as the key of a cache space.

    Only what lies before the cut counts, so training the layers behind it does not change the key. Head, learning rate,
    batch size, split and paths are not part of it.

    Args:
        model: the Keras model from the images to the cut.
        weights: sha256 of the weights of `model`.
        graph: sha256 of the graph of `model`.
        cut: names of the cut tensors.
        backbone: the backbone's section of the config, of which `weights` does not count.
        preprocess: the backbone's preprocessing mode.
        choice: the engine; its precision of training does not count.
        view: the augmented view, or None for images as they are.
        decode_options: how images are decoded.
    """
    return {
        "kind": "activations",
        "format": KEY_FORMAT,
        "backbone": backbone.name,
        "arguments": {name: getattr(backbone, name) for name in ("alpha", "depth_multiplier", "minimalistic")},
        "image_size": model.inputs[0].shape[1],
        "preprocess": preprocess,
        "decode": decode.VERSION,
        "resize": decode_options.resize_rule,
        **decode_options.key_fields(),
        "weights": weights,
        "graph": graph,
        "shapes": [list(variable.shape) for variable in model.weights],
        "cut": list(cut),
        "precision": choice.frozen,
        "device": choice.device,
        "tf32": choice.tf32,
        "kernels": hardware.gpu_names()
        if choice.device == "gpu"
        else environment.kernel_settings(choice.engine != "openvino"),
        "view": view
        and {
            **key_fields(view.augment),
            "seed": view.seed,
            "number": view.number,
        },
        "versions": {
            choice.engine: choice.version,
            "keras": importlib.metadata.version("keras"),
            **dataset_cache.decoder_versions(),
        },
    }


@dataclass(frozen=True, eq=False)
class Activations:
    """Stored cut tensors of some images."""

    indices: npt.NDArray[np.int64]  # (N,), ascending, into the catalog
    rows: CachedRows  # one an image: the bytes of its tensors one after the other
    shapes: tuple[tuple[int, ...], ...]  # of the tensors, without the batch
    dtype: np.dtype[Any]  # in which numbers are stored

    def take(self, indices: npt.NDArray[np.int64]) -> CutArrays:
        """Return the cut tensors of these images, float32 (B, ...) each.

        Raises:
            IndexError: an image is not among `indices`.
        """
        return unpack_rows(self.take_rows(indices), self.shapes, self.dtype)

    def take_rows(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return the rows of these images as they are stored, uint8 (B, row_bytes). Raises as `take`."""
        positions = np.searchsorted(self.indices, indices)
        if not np.array_equal(self.indices[np.minimum(positions, len(self.indices) - 1)], indices):
            raise IndexError("there are no activations of some of these images")
        return self.rows.take(positions)


@dataclass(frozen=True)
class FrozenPart:
    """The part of a network before a cut; it loads activations from the cache or computes them.

    model: of Keras, images (B, S, S, 3) RGB 0-255 -> the cut tensors. source: a part that ends before this one, from
    whose activations, rounded as they are stored, this one's are computed; None: from the images. stored_views: of a
    source, how many augmented views of a training image are stored on the way to the next cut; None: nothing is stored.
    network_cache: where the converted network is kept; None: it is not. calibration: the images on which the part's own
    layers are quantised; only in int8. workers: processes that compute what is to be stored; None: this one does. Only
    for OpenVINO, as the results of other engines depend on the number of threads.
    """

    model: Any
    cut: "Cut"
    backbone: BackboneConfig
    engine_choice: EngineChoice
    source: "FrozenPart | None" = None
    stored_views: int | None = None
    network_cache: DiskCache | None = None
    calibration: Calibration | None = None
    workers: ShardWorkers | None = None

    @cached_property
    def own_function(self) -> Callable[..., CutArrays]:
        """The layers behind the source on the engine: the source's cut tensors, or images uint8 -> the cut tensors.

        It is built at the first access, as converting a network takes seconds.
        """
        if self.source is None:
            return self._engine_function(self.model)
        between, outputs = _layers_between(self.source.cut, self.cut)
        function = self._engine_function(between)
        return lambda *inputs: outputs.select(inputs, function(*inputs))

    def _engine_function(self, model: Any) -> InferenceFunction:
        """Return a model of the part's own layers on the engine; OpenVINO's conversion comes from the cache."""
        engine, precision = self.engine_choice.engine, self.engine_choice.frozen
        if engine != "openvino":
            return InferenceFunction(model, engine, precision)
        return InferenceFunction(model, engine, precision, self.converted(model))

    def converted(self, model: Any) -> Any:
        """Return OpenVINO's form of the part's own layers, from the cache if it has it; in int8 quantised."""

        def convert() -> Any:
            converted = convert_to_openvino(model)
            if self.engine_choice.frozen != "int8":
                return converted
            assert self.calibration is not None, "int8 needs a calibration"
            return quantization.quantize(converted, self._calibration_inputs, self.calibration)

        return conversion.converted_network(self.network_cache, self.network_key(), convert)

    def _calibration_inputs(self) -> Iterator[tuple[npt.NDArray[Any], ...]]:
        """Yield the images that calibrate as the part's own layers get them: pixels, or activations of the source."""
        assert self.calibration is not None
        before = None
        if self.source is not None:
            before = round_as_stored(self.source.inference_function(), self.engine_choice)
        for images in self.calibration.batches():
            yield (images,) if before is None else before(images)

    def network_key(self) -> dict[str, object]:
        """Return everything that the conversion of the part's own layers depends on, as the key of a cache space.

        The network is converted in float32, whatever it is computed in, except in int8.
        """
        key = self._activations_key(None)
        packages = ("openvino", "keras", "tensorflow")
        return {
            "kind": "network",
            "format": conversion.KEY_FORMAT,
            **{name: value for name, value in key.items() if name in _NETWORK_FIELDS},
            "versions": {name: importlib.metadata.version(name) for name in packages},
            **self._calibration_key(),
        }

    def _calibration_key(self) -> dict[str, object]:
        return {} if self.calibration is None else {"calibration": self.calibration.key()}

    def inference_function(self) -> Callable[..., CutArrays]:
        """Return the whole part on the engine: images uint8 (B, S, S, 3) -> the cut tensors."""
        if self.source is None:
            return self.own_function
        before, own = round_as_stored(self.source.inference_function(), self.engine_choice), self.own_function
        return lambda images: own(*before(images))

    @cached_property
    def _digests(self) -> tuple[str, str]:
        return weights_sha256(self.model), graph_sha256(self.model)

    @property
    def _sources(self) -> list["FrozenPart"]:
        """The parts that this one's activations are computed through, the first one first."""
        return [] if self.source is None else [*self.source._sources, self.source]

    def cache_space(
        self, store: DiskCache, view: AugmentedView | None, decode_options: DecodeOptions = DEFAULT_OPTIONS
    ) -> RowStore:
        """Return the cache space of the activations at this cut, for images decoded with these options."""
        return store.space(self._activations_key(view, decode_options))

    def _activations_key(
        self, view: AugmentedView | None, decode_options: DecodeOptions = DEFAULT_OPTIONS
    ) -> dict[str, object]:
        backbone, preprocess = self.backbone, backbone_table.backbone_spec(self.backbone.name).preprocess
        cut, choice = self.cut.names, self.engine_choice
        key = activations_key(self.model, *self._digests, cut, backbone, preprocess, choice, view, decode_options)
        if self.source is not None:
            key["from"] = [list(part.cut.names) for part in self._sources]
        return key | self._calibration_key()

    def cached_activations(
        self,
        store: DiskCache,
        pixels: Pixels,
        indices: npt.NDArray[np.int64],
        view: AugmentedView | None = None,
    ) -> Activations:
        """Load the activations of images from the cache; compute and store those that are missing.

        Args:
            store: the cache.
            pixels: the images.
            indices: catalog indices of the images, in any order.
            view: the augmented view of the images, or None for images as they are.

        Raises:
            CacheFull: there is no room for a row.
        """
        indices = np.unique(indices)

        def compute(missing: list[int]) -> Iterator[npt.NDArray[np.uint8]]:
            return self._compute_rows(store, pixels, indices[np.asarray(missing)], view)

        rows = self.cache_space(store, view, pixels.decode_options).get_or_compute(pixels.digests(indices), compute)
        return Activations(indices, rows, self.cut.shapes, STORAGE_DTYPES[self.engine_choice.frozen])

    def _compute_rows(
        self, store: DiskCache, pixels: Pixels, indices: npt.NDArray[np.int64], view: AugmentedView | None
    ) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield one row of bytes an image, computed from the source's activations where those can be stored."""
        source = self._source_activations(store, pixels, indices, view)
        if source is None:
            pixels.take(indices[:1])  # decodes the images first, under a progress bar of their own
        if self.workers is not None:
            yield from self._rows_of_workers(self.workers, source or pixels, indices, view)
            return
        function = self.inference_function() if source is None else self.own_function
        read = view_reader(pixels, view) if source is None else source.take
        groups = [indices[i : i + BATCH_SIZE] for i in range(0, len(indices), BATCH_SIZE)]
        dtype = STORAGE_DTYPES[self.engine_choice.frozen]
        with progress(self._progress_name(view, from_source=source is not None), len(indices), "images") as steps:
            for inputs in prefetch(groups, read):
                tensors = function(*inputs) if isinstance(inputs, tuple) else function(inputs)
                yield from pack_rows(tensors, dtype)
                steps.advance(len(tensors[0]))

    def _rows_of_workers(
        self,
        workers: ShardWorkers,
        source: Activations | Pixels,
        indices: npt.NDArray[np.int64],
        view: AugmentedView | None,
    ) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield what `_compute_rows` does, computed by other processes from the source's rows or from the images."""
        from_source = isinstance(source, Activations)
        read = source.take_rows if isinstance(source, Activations) else source.part
        part = self._sent_part(view, from_source=from_source)
        groups = (read(group) for group in shards.shards_of(indices, SHARD_IMAGES))
        with progress(self._progress_name(view, from_source=from_source), len(indices), "images") as steps:
            for rows in workers.map(shards.compute_shard, part, groups):
                yield from rows
                steps.advance(len(rows))

    def _sent_part(self, view: AugmentedView | None, *, from_source: bool) -> SentPart:
        """Return the part as it is sent to other processes: its own layers, or with them those of all its sources."""
        choice = self.engine_choice
        parts = [self] if from_source else [*self._sources, self]
        return SentPart(
            id=json.dumps([choice.frozen, *(part.network_key() for part in parts)], sort_keys=True),
            networks=tuple(part._sent_network() for part in parts),
            precision=choice.frozen,
            dtype=STORAGE_DTYPES[choice.frozen],
            view=view,
            source_shapes=self.source.cut.shapes if from_source and self.source is not None else None,
        )

    def _sent_network(self) -> SentNetwork:
        """Return the part's own layers as they are sent."""
        if self.engine_choice.engine != "openvino":
            raise ValueError(f"workers compute with OpenVINO, not with {self.engine_choice.engine}")
        if self.source is None:
            return SentNetwork(conversion.network_row(self.converted(self.model)), None)
        between, outputs = _layers_between(self.source.cut, self.cut)
        return SentNetwork(conversion.network_row(self.converted(between)), outputs)

    def _source_activations(
        self, store: DiskCache, pixels: Pixels, indices: npt.NDArray[np.int64], view: AugmentedView | None
    ) -> Activations | None:
        """Return the source's activations of these images; None if they are not stored or there is no room for them."""
        source = self.source
        if source is None or source.stored_views is None or (view and view.number >= source.stored_views):
            return None
        try:
            return source.cached_activations(store, pixels, indices, view)
        except CacheFull as error:
            say(f"not cached for a later stage: {error}")
            return None

    def _progress_name(self, view: AugmentedView | None, *, from_source: bool) -> str:
        name = "frozen activations"
        if from_source and self.source is not None:
            name += f" behind layer {self.source.cut.index}"
        return name if view is None else f"{name}, view {view.number + 1}"


def build_frozen_part(
    network: "Network",
    cut: "Cut",
    backbone: BackboneConfig,
    choice: EngineChoice,
    source: FrozenPart | None = None,
    *,
    stored_views: int | None = None,
    network_cache: DiskCache | None = None,
    calibration: Calibration | None = None,
    workers: ShardWorkers | None = None,
) -> FrozenPart:
    """Return the part of the network before the cut, to be run on the chosen engine."""
    from thaw.models.network import frozen_submodel

    model = frozen_submodel(network, cut)
    return FrozenPart(model, cut, backbone, choice, source, stored_views, network_cache, calibration, workers)


def _layers_between(source: "Cut", cut: "Cut") -> tuple[Any, CutOutputs]:
    """Return the layers between two cuts, and how the cut's tensors follow: one that crosses both passes unchanged."""
    import keras

    passed = {id(tensor): i for i, tensor in enumerate(source.tensors)}
    computed = [tensor for tensor in cut.tensors if id(tensor) not in passed]
    places = {id(tensor): i for i, tensor in enumerate(computed)}
    outputs = tuple((id(t) in passed, passed.get(id(t), places.get(id(t), -1))) for t in cut.tensors)
    return keras.Model(list(source.tensors), computed, name="frozen_between"), CutOutputs(outputs)


def round_as_stored(function: Callable[..., CutArrays], choice: EngineChoice) -> Callable[..., CutArrays]:
    """Return the function with its outputs rounded as if they had been stored and loaded."""
    dtype = STORAGE_DTYPES[choice.frozen]
    return lambda *images: rounded(function(*images), dtype)


class CachedBatches:
    """Batches of images with stored activations in place of the pixels: same order, same targets.

    `views` holds the activations of each augmented view, which epochs use in turn; one if nothing is augmented.
    """

    def __init__(self, images: ImageBatches, views: Sequence[Activations]) -> None:
        self.images, self.views = images, views

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, epoch: int, i: int) -> npt.NDArray[np.int64]:
        """Return the catalog indices of batch i, int64 (B,)."""
        return self.images.rows(epoch, i)

    def batch(self, epoch: int, i: int) -> tuple[CutArrays, npt.NDArray[np.float32]]:
        """Return the cut tensors, (B, ...) each, and one-hot targets float32 (B, C)."""
        rows = self.rows(epoch, i)
        return self.views[epoch % len(self.views)].take(rows), self.images.one_hot_targets(rows)


class UncachedBatches:
    """Batches of images on which the engine runs the frozen part at every access.

    Training on them gives the same numbers as on `CachedBatches`: `function` rounds its outputs as if they were stored,
    and epochs use the `views` in turn. Without views the images come as `images` augments them.
    """

    def __init__(
        self, images: ImageBatches, function: Callable[..., CutArrays], views: Sequence[AugmentedView | None] = ()
    ) -> None:
        self.images, self.function, self.views = images, function, views

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, epoch: int, i: int) -> npt.NDArray[np.int64]:
        """Return the catalog indices of batch i, int64 (B,)."""
        return self.images.rows(epoch, i)

    def batch(self, epoch: int, i: int) -> tuple[CutArrays, npt.NDArray[np.float32]]:
        """Return the cut tensors, (B, ...) each, and one-hot targets float32 (B, C)."""
        view = self.views[epoch % len(self.views)] if self.views else None
        if view is None:
            images, targets = self.images.batch(epoch, i)
            return self.function(images), targets
        rows = self.rows(epoch, i)
        return self.function(view_reader(self.images.pixels, view)(rows)), self.images.one_hot_targets(rows)

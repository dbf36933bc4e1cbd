"""Activations at a cut: kept by the content of every image and computed once, or run on the engine batch by batch."""

import importlib.metadata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from ml_dtypes import bfloat16

from thaw.cache import CachedRows, CacheSpace, DiskCache
from thaw.cache.space import AddRow
from thaw.common import environment, hardware
from thaw.common.console import progress, say
from thaw.common.errors import UserError
from thaw.config.schema import BackboneConfig
from thaw.data import cache_spaces, decode
from thaw.data.decode import DEFAULT_OPTIONS, DecodeOptions
from thaw.data.pipeline import AugmentedView, ImageBatches, view_reader
from thaw.data.pixels import Pixels
from thaw.frozen.batch_runner import prefetch
from thaw.frozen.engine import EngineChoice, InferenceFunction
from thaw.models import backbone_table
from thaw.models.graph_digest import graph_sha256
from thaw.models.weights_digest import weights_sha256

if TYPE_CHECKING:  # what is kept is read without Keras
    from thaw.models.network import Cut, Network

KEY_FORMAT = 2  # raise it when what is computed from the same key changes
STORAGE_DTYPES = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(bfloat16), "float16": np.dtype(np.float16)}
BATCH_SIZE = 64  # images decoded and run in one go; their number does not change what comes out

CutArrays = tuple[npt.NDArray[np.float32], ...]


def activations_key(
    frozen: Any,
    weights: str,
    graph: str,
    cut: Sequence[str],
    backbone: BackboneConfig,
    preprocess: str,
    choice: EngineChoice,
    view: AugmentedView | None,
    rules: DecodeOptions = DEFAULT_OPTIONS,
) -> dict[str, object]:
    """All that activations depend on besides the image's own bytes.

    weights: sha256 of those of `frozen`; graph: digest of what it computes with them. Only what comes before the cut
    counts: a stage that trains the rest does not change it. Head, learning rate, batch size, split and paths are not in
    it.
    """
    return {
        "kind": "activations",
        "format": KEY_FORMAT,
        "backbone": backbone.name,
        "arguments": {name: getattr(backbone, name) for name in ("alpha", "depth_multiplier", "minimalistic")},
        "image_size": frozen.inputs[0].shape[1],
        "preprocess": preprocess,
        "decode": decode.VERSION,
        "resize": decode.RESIZE_RULE,
        **rules.key_fields(),
        "weights": weights,
        "graph": graph,
        "shapes": [list(variable.shape) for variable in frozen.weights],
        "cut": list(cut),
        "precision": choice.frozen,
        "device": choice.device,
        "tf32": choice.tf32,
        "kernels": hardware.gpu_names()
        if choice.device == "gpu"
        else environment.kernel_settings(choice.engine != "openvino"),
        "view": None
        if view is None
        else {
            "flip": view.augment.flip,
            "shift": view.augment.shift,
            "ops": view.augment.ops,
            "magnitude": view.augment.magnitude,
            "seed": view.seed,
            "number": view.number,
        },
        "versions": {
            choice.engine: choice.version,
            "keras": importlib.metadata.version("keras"),
            **cache_spaces.decoder_versions(),
        },
    }


@dataclass(frozen=True, eq=False)
class Activations:
    """The cut tensors of some images. indices: int64 (N,) ascending, into the catalog; shapes: of the tensors."""

    indices: npt.NDArray[np.int64]
    rows: CachedRows
    shapes: tuple[tuple[int, ...], ...]
    dtype: np.dtype[Any]

    def take(self, indices: npt.NDArray[np.int64]) -> CutArrays:
        """Return the cut tensors of these images, float32 (B, ...) each; IndexError for one that is not among them."""
        places = np.searchsorted(self.indices, indices)
        if not np.array_equal(self.indices[np.minimum(places, len(self.indices) - 1)], indices):
            raise IndexError("activations were asked for that were not taken")
        stored = self.rows.take(places).view(self.dtype)
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])
        parts = np.split(stored, ends[:-1], axis=1)
        return tuple(
            part.astype(np.float32).reshape(len(indices), *shape)
            for part, shape in zip(parts, self.shapes, strict=True)
        )


@dataclass(frozen=True)
class FrozenPart:
    """The frozen part up to a cut, and everything needed to have its activations of any image.

    function is called for the engine, which is made at most once and only if something must be computed.
    """

    model: Any
    cut: "Cut"
    backbone: BackboneConfig
    engine_choice: EngineChoice
    _made: dict[tuple[tuple[str, ...], ...], InferenceFunction] = field(default_factory=dict)

    def inference_function(self, later_parts: Sequence["FrozenPart"] = ()) -> InferenceFunction:
        """The frozen part on the engine: images uint8 (B, S, S, 3) -> the cut tensors, and those of `later`.

        As one function, so that what they share is computed once.
        """
        cuts = tuple(other.cut.names for other in later_parts)
        if cuts not in self._made:
            import keras

            outputs = [tensor for part in (self, *later_parts) for tensor in part.model.outputs]
            model = keras.Model(self.model.inputs, outputs) if later_parts else self.model
            self._made[cuts] = InferenceFunction(model, self.engine_choice.engine, self.engine_choice.frozen)
        return self._made[cuts]

    @cached_property
    def _weights(self) -> str:
        return weights_sha256(self.model)

    @cached_property
    def _graph(self) -> str:
        return graph_sha256(self.model)

    def cache_space(
        self, store: DiskCache, view: AugmentedView | None, rules: DecodeOptions = DEFAULT_OPTIONS
    ) -> CacheSpace:
        """Where the activations at this cut are kept, of images that were decoded by these rules."""
        backbone, preprocess = self.backbone, backbone_table.backbone_spec(self.backbone.name).preprocess
        cut, choice = self.cut.names, self.engine_choice
        return store.space(
            activations_key(self.model, self._weights, self._graph, cut, backbone, preprocess, choice, view, rules)
        )

    def cached_activations(
        self,
        store: DiskCache,
        pixels: Pixels,
        indices: npt.NDArray[np.int64],
        view: AugmentedView | None = None,
        later_parts: Sequence["FrozenPart"] = (),
    ) -> Activations:
        """Take the activations of images from the cache, and compute and keep those that are not there.

        later: cuts that later stages will ask for. They lie on the way, so what is computed here is kept there too.
        """
        indices = np.unique(indices)

        def compute(missing: list[int]) -> Iterator[npt.NDArray[np.uint8]]:
            return self._computed(store, pixels, indices[np.asarray(missing)], view, later_parts)

        rows = self.cache_space(store, view, pixels.decode_options).get_or_compute(pixels.digests(indices), compute)
        return Activations(indices, rows, self.cut.shapes, STORAGE_DTYPES[self.engine_choice.frozen])

    def _computed(
        self,
        store: DiskCache,
        pixels: Pixels,
        indices: npt.NDArray[np.int64],
        view: AugmentedView | None,
        later: Sequence["FrozenPart"],
    ) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield one row of bytes an image: its cut tensors one after the other, in the precision they are kept in."""
        groups = [indices[i : i + BATCH_SIZE] for i in range(0, len(indices), BATCH_SIZE)]
        read = view_reader(pixels, view)
        name = "frozen activations" if view is None else f"frozen activations, view {view.number + 1}"
        pixels.take(indices[:1])  # decoded pixels are made ready with a bar of their own
        function, later = self._together(later, read(indices[:8]))
        digests = pixels.digests(indices)
        aside: list[_Aside] = []
        try:
            aside += (_Aside(other.cache_space(store, view, pixels.decode_options), digests) for other in later)
            with progress(name, len(indices)) as steps:
                for group, images in zip(groups, prefetch(groups, read), strict=True):
                    outputs = list(function(images))
                    own = [outputs.pop(0) for _ in self.cut.names]
                    for other, kept_there in zip(later, aside, strict=True):
                        theirs = [outputs.pop(0) for _ in other.cut.names]
                        kept_there.add(pixels.digests(group), _rows(theirs, self.engine_choice))
                        if group is groups[-1]:  # now: nobody asks for more than the last row
                            kept_there.close()
                    yield from _rows(own, self.engine_choice)
                    steps.advance(len(images))
        finally:
            for kept_there in aside:  # of an extraction that was broken off too
                kept_there.close()

    def _together(
        self, later: Sequence["FrozenPart"], images: npt.NDArray[np.uint8]
    ) -> tuple[InferenceFunction, Sequence["FrozenPart"]]:
        """What computes all cuts on one way through the network, if each comes out as it does alone, to the last bit.

        That is not sure: which operations an engine joins, and so where it rounds, depends on which tensors are asked
        for (ResNet50 in bfloat16 with a cut behind conv4_block6: features differ by 0.08; EfficientNet-Lite0 in float32
        with a cut between a convolution and its BatchNorm: by 6e-6). What a row holds must not depend on what else a
        run wanted, so such cuts are left to their own stages.
        """
        function = self.inference_function(later)
        if not later:
            return function, later
        outputs, first = function(images), 0
        for part in (self, *later):
            own = range(first, first + len(part.cut.names))
            alone = function.select_outputs(own)(images)
            if any(a.tobytes() != outputs[i].tobytes() for a, i in zip(alone, own, strict=True)):
                return self.inference_function(), ()
            first = own.stop
        return function, later


def build_frozen_part(network: "Network", cut: "Cut", backbone: BackboneConfig, choice: EngineChoice) -> FrozenPart:
    """Return the part of the network before the cut, to be run on the chosen engine."""
    from thaw.models.network import frozen_submodel

    return FrozenPart(frozen_submodel(network, cut), cut, backbone, choice)


def _rows(outputs: Sequence[npt.NDArray[np.float32]], choice: EngineChoice) -> Iterator[npt.NDArray[np.uint8]]:
    dtype = STORAGE_DTYPES[choice.frozen]
    flat = [y.reshape(len(y), -1).astype(dtype) for y in outputs]
    yield from np.ascontiguousarray(np.concatenate(flat, axis=1)).view(np.uint8)


def round_as_stored(function: Callable[..., CutArrays], choice: EngineChoice) -> Callable[..., CutArrays]:
    """The function, with its outputs rounded as they are when they are kept."""
    dtype = STORAGE_DTYPES[choice.frozen]
    return lambda *images: tuple(y.astype(dtype).astype(np.float32) for y in function(*images))


class _Aside:
    """Adds rows to the space of a later stage as they come along; what cannot be added, that stage computes itself."""

    def __init__(self, space: CacheSpace, digests: list[str]) -> None:
        self._open = ExitStack()
        self._add: AddRow | None = None
        with self._optional():
            self._add = self._open.enter_context(space.row_writer(digests))

    def add(self, digests: list[str], rows: Iterable[npt.NDArray[np.uint8]]) -> None:
        with self._optional():
            for digest, row in zip(digests, rows, strict=True):
                if self._add is None:
                    return
                self._add(digest, row)

    def close(self) -> None:
        """Commit what was added, and let others compute in the space."""
        self._add = None
        with self._optional():
            self._open.close()

    @contextmanager
    def _optional(self) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            say(f"not kept for a later stage: {error}")
            self.close()


class CachedBatches:
    """The batches of `images`, with kept activations in place of the pixels: same rows, same order, same targets.

    views: activations of each augmented view, one an epoch in turn; a single one when nothing is augmented.
    """

    def __init__(self, images: ImageBatches, views: Sequence[Activations]) -> None:
        self.images, self.views = images, views

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, epoch: int, i: int) -> npt.NDArray[np.int64]:
        return self.images.rows(epoch, i)

    def batch(self, epoch: int, i: int) -> tuple[CutArrays, npt.NDArray[np.float32]]:
        """Return the cut tensors, (B, ...) each, and one-hot targets float32 (B, C)."""
        rows = self.rows(epoch, i)
        return self.views[epoch % len(self.views)].take(rows), self.images.one_hot_targets(rows)


class UncachedBatches:
    """The batches of `images`, with the frozen part run on the engine at every access.

    views: as in `KeptBatches`, made anew each time: what there is no room to keep trains as it would if there were.
    """

    def __init__(
        self, images: ImageBatches, function: Callable[..., CutArrays], views: Sequence[AugmentedView | None] = ()
    ) -> None:
        self.images, self.function, self.views = images, function, views

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, epoch: int, i: int) -> npt.NDArray[np.int64]:
        return self.images.rows(epoch, i)

    def batch(self, epoch: int, i: int) -> tuple[CutArrays, npt.NDArray[np.float32]]:
        """Return the cut tensors, (B, ...) each, and one-hot targets float32 (B, C)."""
        wanted = self.views[epoch % len(self.views)] if self.views else None
        if wanted is None:
            images, targets = self.images.batch(epoch, i)
            return self.function(images), targets
        rows = self.rows(epoch, i)
        return self.function(view_reader(self.images.pixels, wanted)(rows)), self.images.one_hot_targets(rows)

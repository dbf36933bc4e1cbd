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

from thaw.cache import Rows, Space, Store
from thaw.cache.space import Add
from thaw.common import environment
from thaw.common.console import progress, say
from thaw.common.errors import UserError
from thaw.config.schema import BackboneConfig
from thaw.data import cache_spaces, decode
from thaw.data.bit_depth import DEFAULT, Rules
from thaw.data.pipeline import Batches, View, viewer
from thaw.data.pixels import Pixels
from thaw.frozen.batch_runner import ahead
from thaw.frozen.engine import Choice, Function
from thaw.models import backbone_table
from thaw.models.graph_digest import graph_sha256
from thaw.models.weights_digest import weights_sha256

if TYPE_CHECKING:  # what is kept is read without Keras
    from thaw.models.network import Network

FORMAT = 2  # raise it when what is computed from the same key changes
STORED = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(bfloat16), "float16": np.dtype(np.float16)}
BATCH = 64  # images decoded and run in one go; their number does not change what comes out

Arrays = tuple[npt.NDArray[np.float32], ...]


def key(
    frozen: Any,
    weights: str,
    graph: str,
    cut: Sequence[str],
    backbone: BackboneConfig,
    preprocess: str,
    choice: Choice,
    view: View | None,
    rules: Rules = DEFAULT,
) -> dict[str, object]:
    """All that activations depend on besides the image's own bytes.

    weights: sha256 of those of `frozen`; graph: digest of what it computes with them. Only what comes before the cut
    counts: a stage that trains the rest does not change it. Head, learning rate, batch size, split and paths are not in
    it.
    """
    return {
        "kind": "activations",
        "format": FORMAT,
        "backbone": backbone.name,
        "arguments": {name: getattr(backbone, name) for name in ("alpha", "depth_multiplier", "minimalistic")},
        "image_size": frozen.inputs[0].shape[1],
        "preprocess": preprocess,
        "decode": decode.VERSION,
        "resize": decode.RESIZE,
        **rules.key(),
        "weights": weights,
        "graph": graph,
        "shapes": [list(variable.shape) for variable in frozen.weights],
        "cut": list(cut),
        "precision": choice.frozen,
        "device": choice.device,
        "tf32": choice.tf32,
        "kernels": environment.gpu_names()
        if choice.device == "gpu"
        else environment.kernels(choice.engine != "openvino"),
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
            **cache_spaces.versions(),
        },
    }


@dataclass(frozen=True, eq=False)
class Activations:
    """The cut tensors of some images. indices: int64 (N,) ascending, into the catalog; shapes: of the tensors."""

    indices: npt.NDArray[np.int64]
    rows: Rows
    shapes: tuple[tuple[int, ...], ...]
    dtype: np.dtype[Any]

    def take(self, indices: npt.NDArray[np.int64]) -> Arrays:
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
class Frozen:
    """The frozen part up to a cut, and everything needed to have its activations of any image.

    function is called for the engine, which is made at most once and only if something must be computed.
    """

    model: Any
    cut: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    backbone: BackboneConfig
    preprocess: str
    choice: Choice
    _made: dict[tuple[tuple[str, ...], ...], Function] = field(default_factory=dict)

    def function(self, later: Sequence["Frozen"] = ()) -> Function:
        """The frozen part on the engine: images uint8 (B, S, S, 3) -> the cut tensors, and those of `later`.

        As one function, so that what they share is computed once.
        """
        cuts = tuple(other.cut for other in later)
        if cuts not in self._made:
            import keras

            outputs = [tensor for part in (self, *later) for tensor in part.model.outputs]
            model = keras.Model(self.model.inputs, outputs) if later else self.model
            self._made[cuts] = Function(model, self.choice.engine, self.choice.frozen)
        return self._made[cuts]

    @cached_property
    def _weights(self) -> str:
        return weights_sha256(self.model)

    @cached_property
    def _graph(self) -> str:
        return graph_sha256(self.model)

    def space(self, store: Store, view: View | None, rules: Rules = DEFAULT) -> Space:
        """Where the activations at this cut are kept, of images that were decoded by these rules."""
        backbone, preprocess = self.backbone, self.preprocess
        return store.space(
            key(self.model, self._weights, self._graph, self.cut, backbone, preprocess, self.choice, view, rules)
        )

    def activations(
        self,
        store: Store,
        pixels: Pixels,
        indices: npt.NDArray[np.int64],
        view: View | None = None,
        later: Sequence["Frozen"] = (),
    ) -> Activations:
        """Take the activations of images from the cache, and compute and keep those that are not there.

        later: cuts that later stages will ask for. They lie on the way, so what is computed here is kept there too.
        """
        indices = np.unique(indices)

        def compute(missing: list[int]) -> Iterator[npt.NDArray[np.uint8]]:
            return self._computed(store, pixels, indices[np.asarray(missing)], view, later)

        rows = self.space(store, view, pixels.rules).rows(pixels.digests(indices), compute)
        return Activations(indices, rows, self.shapes, STORED[self.choice.frozen])

    def _computed(
        self,
        store: Store,
        pixels: Pixels,
        indices: npt.NDArray[np.int64],
        view: View | None,
        later: Sequence["Frozen"],
    ) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield one row of bytes an image: its cut tensors one after the other, in the precision they are kept in."""
        groups = [indices[i : i + BATCH] for i in range(0, len(indices), BATCH)]
        read = viewer(pixels, view)
        name = "frozen activations" if view is None else f"frozen activations, view {view.number + 1}"
        pixels.take(indices[:1])  # decoded pixels are made ready with a bar of their own
        function, later = self._together(later, read(indices[:8]))
        digests = pixels.digests(indices)
        aside: list[_Aside] = []
        try:
            aside += (_Aside(other.space(store, view, pixels.rules), digests) for other in later)
            with progress(name, len(indices)) as steps:
                for group, images in zip(groups, ahead(groups, read), strict=True):
                    outputs = list(function(images))
                    own = [outputs.pop(0) for _ in self.cut]
                    for other, kept_there in zip(later, aside, strict=True):
                        theirs = [outputs.pop(0) for _ in other.cut]
                        kept_there.add(pixels.digests(group), _rows(theirs, self.choice))
                        if group is groups[-1]:  # now: nobody asks for more than the last row
                            kept_there.close()
                    yield from _rows(own, self.choice)
                    steps.advance(len(images))
        finally:
            for kept_there in aside:  # of an extraction that was broken off too
                kept_there.close()

    def _together(
        self, later: Sequence["Frozen"], images: npt.NDArray[np.uint8]
    ) -> tuple[Function, Sequence["Frozen"]]:
        """What computes all cuts on one way through the network, if each comes out as it does alone, to the last bit.

        That is not sure: which operations an engine joins, and so where it rounds, depends on which tensors are asked
        for (ResNet50 in bfloat16 with a cut behind conv4_block6: features differ by 0.08; EfficientNet-Lite0 in float32
        with a cut between a convolution and its BatchNorm: by 6e-6). What a row holds must not depend on what else a
        run wanted, so such cuts are left to their own stages.
        """
        function = self.function(later)
        if not later:
            return function, later
        outputs, first = function(images), 0
        for part in (self, *later):
            own = range(first, first + len(part.cut))
            alone = function.alone(own)(images)
            if any(a.tobytes() != outputs[i].tobytes() for a, i in zip(alone, own, strict=True)):
                return self.function(), ()
            first = own.stop
        return function, later


def frozen_at(network: "Network", at: int, backbone: BackboneConfig, choice: Choice) -> Frozen:
    """The part of the network before the cut behind `layers[:at]`, on the choice's engine."""
    from thaw.models.network import cut_names, cut_tensors, frozen_part

    tensors = cut_tensors(network, at)
    return Frozen(
        frozen_part(network, at),
        cut_names(network, at),
        tuple(tuple(tensor.shape[1:]) for tensor in tensors),
        backbone,
        backbone_table.row(backbone.name).preprocess,
        choice,
    )


def _rows(outputs: Sequence[npt.NDArray[np.float32]], choice: Choice) -> Iterator[npt.NDArray[np.uint8]]:
    dtype = STORED[choice.frozen]
    flat = [y.reshape(len(y), -1).astype(dtype) for y in outputs]
    yield from np.ascontiguousarray(np.concatenate(flat, axis=1)).view(np.uint8)


def as_kept(function: Callable[..., Arrays], choice: Choice) -> Callable[..., Arrays]:
    """The function, with its outputs rounded as they are when they are kept."""
    dtype = STORED[choice.frozen]
    return lambda *images: tuple(y.astype(dtype).astype(np.float32) for y in function(*images))


class _Aside:
    """Adds rows to the space of a later stage as they come along; what cannot be added, that stage computes itself."""

    def __init__(self, space: Space, digests: list[str]) -> None:
        self._open = ExitStack()
        self._add: Add | None = None
        with self._optional():
            self._add = self._open.enter_context(space.adding(digests))

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


class KeptBatches:
    """The batches of `images`, with kept activations in place of the pixels: same rows, same order, same targets.

    views: activations of each augmented view, one an epoch in turn; a single one when nothing is augmented.
    """

    def __init__(self, images: Batches, views: Sequence[Activations]) -> None:
        self.images, self.views = images, views

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, epoch: int, i: int) -> npt.NDArray[np.int64]:
        return self.images.rows(epoch, i)

    def batch(self, epoch: int, i: int) -> tuple[Arrays, npt.NDArray[np.float32]]:
        """Return the cut tensors, (B, ...) each, and one-hot targets float32 (B, C)."""
        rows = self.rows(epoch, i)
        return self.views[epoch % len(self.views)].take(rows), self.images.targets(rows)


class LiveBatches:
    """The batches of `images`, with the frozen part run on the engine at every access.

    views: as in `KeptBatches`, made anew each time: what there is no room to keep trains as it would if there were.
    """

    def __init__(self, images: Batches, function: Callable[..., Arrays], views: Sequence[View | None] = ()) -> None:
        self.images, self.function, self.views = images, function, views

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, epoch: int, i: int) -> npt.NDArray[np.int64]:
        return self.images.rows(epoch, i)

    def batch(self, epoch: int, i: int) -> tuple[Arrays, npt.NDArray[np.float32]]:
        """Return the cut tensors, (B, ...) each, and one-hot targets float32 (B, C)."""
        wanted = self.views[epoch % len(self.views)] if self.views else None
        if wanted is None:
            images, targets = self.images.batch(epoch, i)
            return self.function(images), targets
        rows = self.rows(epoch, i)
        return self.function(viewer(self.images.pixels, wanted)(rows)), self.images.targets(rows)

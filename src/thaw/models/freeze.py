"""The freeze plan: from a request to a boundary, and its application to layers."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from thaw.common.errors import UserError, did_you_mean
from thaw.config import command_lines
from thaw.models.layer_graph import LayerGraph, Operation


@dataclass(frozen=True)
class FreezePlan:
    """Which layers stay frozen: `backbone.layers[:boundary]`; `layers[boundary:]` train."""

    request: str  # `finetune.freeze` as text
    boundary: int
    total_layers: int
    last_frozen_layer: str | None  # None when nothing is frozen
    block: str | None  # that contains the boundary; None outside all blocks
    inside_block: bool  # the boundary lies before the end of `block`
    cut_names: tuple[str, ...]  # operations whose outputs flow from the frozen part into the thawed one or the head
    cut_values: int | None  # numbers per image in all cut tensors; None when the input's size is free
    params: int  # weights of the backbone, BatchNorm statistics included
    trainable_params: int  # those in thawed layers, statistics included
    trainable_statistics: int  # BatchNorm statistics of thawed layers
    batchnorm: str  # frozen or trainable: whether the statistics of thawed layers are updated

    @property
    def all_frozen(self) -> bool:
        """Whether the whole backbone is frozen."""
        return self.boundary == self.total_layers

    def summary(self) -> str:
        """Return the plan as one printed line."""
        where = "nothing frozen"
        if self.last_frozen_layer is not None:
            block = f", {'inside' if self.inside_block else 'end of'} block {self.block}" if self.block else ""
            where = f"boundary {self.last_frozen_layer}{block}"
        share = 100 * self.trainable_params / self.params if self.params else 0.0
        parts = [f"frozen {self.boundary}/{self.total_layers}", where]
        if self.boundary:
            tensors = f"cut {len(self.cut_names)} tensor{'s' if len(self.cut_names) > 1 else ''}"
            size = f", {4e-6 * self.cut_values:.2g} MB/image" if self.cut_values else ""
            parts.append(tensors + size)
        parts.append(f"trainable {share:.1f} %")
        if self.trainable_statistics:
            parts.append(f"BatchNorm statistics {'fixed' if self.batchnorm == 'frozen' else 'updated where thawed'}")
        return " · ".join(parts)


def resolve_boundary(request: object, graph: LayerGraph, backbone: str, key: str = "finetune.freeze") -> int:
    """Return the number N of frozen layers, `layers[:N]`, that a request stands for.

    Args:
        request: an index, a layer or block name (frozen through it), a fraction 0 < f < 1 of the layers, all or none.
        graph: the backbone's graph.
        backbone: the backbone's name, for error messages.
        key: the config key that the request was given with, for error messages.

    Raises:
        UserError: there is no such layer or block, or the number is out of range; with the nearest name.
    """
    total, hint = len(graph.layers), f"See them all: {command_lines.script_command('layers')} backbone={backbone}"
    request = _as_number(request)
    if isinstance(request, bool) or request is None:
        raise UserError(f"{key}={request} is not understood. {_ALLOWED_REQUESTS} {hint}")
    if isinstance(request, int):
        if not 0 <= request <= total:
            raise UserError(f"{key}={request}: {backbone} has {total} layers; give 0 to {total}. {hint}")
        return request
    if isinstance(request, float):
        if not 0 < request < 1:
            raise UserError(
                f"{key}={request} is no fraction between 0 and 1. "
                f"Use {key}=all or none for everything or nothing, or a whole number for an index"
            )
        return round(request * total)
    name = str(request)
    if name in ("all", "none"):
        return total if name == "all" else 0
    indices = {layer.name: layer.index for layer in graph.layers}
    indices.update({block.name: block.last_layer for block in graph.blocks})
    if name not in indices:
        raise UserError(
            f"{key}={name} is neither a layer nor a block of {backbone}."
            f"{did_you_mean(name, indices)} {_ALLOWED_REQUESTS} {hint}"
        )
    return indices[name] + 1


_ALLOWED_REQUESTS = "Give an index, a layer or block name, a fraction between 0 and 1, all or none."


def _as_number(request: object) -> object:
    if not isinstance(request, str):
        return request
    for number in (int, float):
        try:
            return number(request)
        except ValueError:
            continue
    return request


def make_plan(
    request: object, graph: LayerGraph, backbone: str, batchnorm: str, key: str = "finetune.freeze"
) -> FreezePlan:
    """Return the plan for a request; raises UserError as `resolve_boundary` does."""
    boundary = resolve_boundary(request, graph, backbone, key)
    block = next((b for b in graph.blocks if boundary - 1 <= b.last_layer), None)
    cut = cut_operations(graph, boundary)
    return FreezePlan(
        request=str(request),
        boundary=boundary,
        total_layers=len(graph.layers),
        last_frozen_layer=graph.layers[boundary - 1].name if boundary else None,
        block=block.name if block and boundary else None,
        inside_block=bool(boundary and block and block.last_layer != boundary - 1),
        cut_names=tuple(operation.name for operation in cut),
        cut_values=activation_values_per_image(cut),
        params=sum(layer.params for layer in graph.layers),
        trainable_params=sum(layer.params for layer in graph.layers[boundary:]),
        trainable_statistics=sum(layer.batchnorm_statistics for layer in graph.layers[boundary:]),
        batchnorm=batchnorm,
    )


def blocks_behind(graph: LayerGraph, index: int) -> int:
    """Return how many blocks of the backbone lie from the layer's own to the head; 1 for the last block's layers."""
    before = sum(block.last_layer < index for block in graph.blocks)
    return max(1, len(graph.blocks) - before)


def activation_values_per_image(operations: Iterable[Operation]) -> int | None:
    """Return how many numbers the operations output for one image; None when the input's size is free."""
    sides = [operation.shape for operation in operations]
    if any(None in shape for shape in sides):
        return None
    return sum(math.prod(side for side in shape if side is not None) for shape in sides)


def cut_operations(graph: LayerGraph, index: int) -> list[Operation]:
    """Return the operations whose outputs flow from `layers[:index]` to the rest, in topological order.

    An operation that belongs to no layer (an addition, the preprocessing) is frozen when all of its inputs are.
    """
    frozen: list[bool] = []
    for operation in graph.operations:
        if operation.layer is not None:
            frozen.append(operation.layer < index or not operation.inputs)
        else:
            frozen.append(all(frozen[i] for i in operation.inputs))
    crossing = {
        i
        for position, operation in enumerate(graph.operations)
        for i in operation.inputs
        if frozen[i] and not frozen[position]
    }
    if frozen[-1]:  # the head reads the last operation
        crossing.add(len(frozen) - 1)
    return [graph.operations[i] for i in sorted(crossing)]


def set_trainable(layers: Iterable[Any], boundary: int) -> None:
    """Set `trainable` of every layer: False for `layers[:boundary]`, True for the rest.

    The model must be compiled afterwards, or Keras silently ignores the change. Nothing else sets `trainable`.
    """
    for i, layer in enumerate(layers):
        layer.trainable = i >= boundary

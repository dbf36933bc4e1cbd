"""The identity of a network's graph: what its layers are, how they are set, and what flows where.

Two networks can take the same weights and still compute different things: keras.applications puts a Rescaling layer
into EfficientNetB0-B7 only when it is asked for the ImageNet weights. Keras's own serialised config tells them apart,
in a built model as in a `.keras` file, so both are described from it. Names, dtypes, initializers and `trainable` are
left out: they do not change what a network with given weights computes (precision belongs to a computation).
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# `module` moves between Keras's versions; `build_config` and `registered_name` follow from the rest.
_LEFT_OUT = {"name", "trainable", "dtype", "module", "registered_name", "build_config"}

GraphDescription = list[dict[str, Any]]
"""A network's operations in order: `class`, `config`, and `inputs` as [operation, node, tensor] in place of names."""


def graph_sha256(model: Any) -> str:
    """Return the sha256 of a functional Keras model's graph, 64 hexadecimal digits."""
    return description_sha256(describe_model(model))


def description_sha256(description: GraphDescription) -> str:
    """Return the sha256 of a description."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def describe_model(model: Any) -> GraphDescription:
    """Describe the graph of a functional Keras model."""
    return _describe(json.loads(json.dumps(model.get_config(), default=_plain)))


def describe_config(config: Mapping[str, Any]) -> GraphDescription | None:
    """Describe the network of a serialised config, without building it; None when it is no functional model's."""
    try:
        return _describe(config)
    except (KeyError, TypeError, AttributeError, ValueError):  # another kind of model, or spoilt on purpose
        return None


def first_difference(stored: Sequence[Mapping[str, Any]], built: Sequence[Mapping[str, Any]]) -> str | None:
    """Say where two descriptions differ first, None when they are of one network.

    A setting that only one of them has is passed over: another version of Keras may have added it.
    """
    for i, (a, b) in enumerate(zip(stored, built, strict=False)):
        if a["class"] != b["class"]:
            return f"operation {i} is a {a['class']} there, a {b['class']} here"
        if found := _setting(a["config"], b["config"], ""):
            return f"operation {i}, a {a['class']}: {found}"
        if a["inputs"] != b["inputs"]:
            return f"operation {i}, a {a['class']}, reads other tensors"
    if len(stored) != len(built):
        return f"{len(stored)} operations there, {len(built)} here"
    return None


def difference_within(stored: Sequence[Mapping[str, Any]], built: Sequence[Mapping[str, Any]]) -> str | None:
    """Say how a built backbone differs from what it would be in a stored network, None when it is found there.

    Inputs and preprocessing do not count, nor what follows the backbone: a network of somebody else's begins in its own
    way, and has a top.
    """
    theirs, ours = _body(stored), _body(built)[:-1]  # the last one says which are the outputs
    ours_classes = [op["class"] for op in ours]
    starts = [
        i
        for i in range(len(theirs) - len(ours) + 1)
        if [op["class"] for op in theirs[i : i + len(ours)]] == ours_classes
    ]
    found = [first_difference(theirs[i : i + len(ours)], ours) for i in starts]
    return None if None in found else found[0] if found else first_difference(theirs[: len(ours)], ours)


def _body(description: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    start = max((i + 1 for i, op in enumerate(description) if op.get("preprocess")), default=0)
    return [
        {"class": op["class"], "config": op["config"], "inputs": None}
        for op in description[start:]
        if op["class"] != "InputLayer"
    ]


def _describe(config: Mapping[str, Any]) -> GraphDescription:
    position = {layer["name"]: i for i, layer in enumerate(config["layers"])}
    operations: GraphDescription = [
        {
            "class": layer["class_name"],
            "config": _normal(layer["config"], position),
            "inputs": _normal(layer["inbound_nodes"], position),
            **({"preprocess": True} if layer["name"] == "preprocess" else {}),
        }
        for layer in config["layers"]
    ]
    outputs = list(_positions(config["output_layers"], position))
    return [*operations, {"class": "outputs", "config": {}, "inputs": outputs}]


def _normal(value: Any, position: Mapping[str, int]) -> Any:
    """A serialised value without what does not count; a tensor as [operation, node, tensor]."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            name, node, tensor = value["config"]["keras_history"]
            return [position[name], node, tensor]
        return {
            key: _normal(entry, position)
            for key, entry in value.items()
            # A setting that is not set equals one that an older Keras did not have.
            if entry is not None and key not in _LEFT_OUT and not key.endswith("_initializer")
        }
    if isinstance(value, list):
        return [_normal(entry, position) for entry in value]
    return value


def _positions(layers: Any, position: Mapping[str, int]) -> Iterator[list[int]]:
    """Each output as [operation, node, tensor], in order; one output is the same with and without a list around it."""
    if isinstance(layers, list) and len(layers) == 3 and isinstance(layers[0], str):
        yield [position[layers[0]], *layers[1:]]
        return
    for entry in layers.values() if isinstance(layers, Mapping) else layers:
        yield from _positions(entry, position)


def _setting(stored: Any, built: Any, key: str) -> str | None:
    if isinstance(stored, Mapping) and isinstance(built, Mapping):
        both = (name for name in stored if name in built)
        found = (_setting(stored[name], built[name], f"{key}.{name}".lstrip(".")) for name in both)
        return next((text for text in found if text), None)
    return None if stored == built else f"{key} is {stored} there, {built} here"


def _plain(value: Any) -> Any:
    """Numbers of numpy, which a config may hold, as JSON has them."""
    return value.tolist() if hasattr(value, "tolist") else str(value)

"""Digests and comparison of network graphs: classes of layers, their settings and connections.

Two networks can take the same weights and compute different things: keras.applications builds EfficientNetB0-B7 with a
Rescaling layer only for ImageNet weights. Keras's serialised config tells them apart, and it is the same in a built
model and in a `.keras` file. Names, dtypes, initializers and `trainable` are left out, as they do not change what a
network with given weights computes.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

# `module` differs between versions of Keras; `build_config` and `registered_name` follow from the rest.
_LEFT_OUT = {"name", "trainable", "dtype", "module", "registered_name", "build_config"}

GraphDescription = list[dict[str, Any]]
"""A network's operations in order: `class`, `config`, and `inputs` as [operation, node, tensor] instead of names."""


_digests: "WeakKeyDictionary[Any, str]" = WeakKeyDictionary()


def graph_sha256(model: Any) -> str:
    """Return the sha256 of a functional Keras model's graph, 64 hexadecimal digits.

    It is computed once for a model, whose graph cannot be changed after it was built: 30 ms for EfficientNet-Lite0.
    """
    if model not in _digests:
        _digests[model] = description_sha256(describe_model(model))
    return _digests[model]


def description_sha256(description: GraphDescription) -> str:
    """Return the sha256 of a description."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def describe_model(model: Any) -> GraphDescription:
    """Describe the graph of a functional Keras model."""
    return _describe(json.loads(json.dumps(model.get_config(), default=_plain)))


def describe_config(config: Mapping[str, Any]) -> GraphDescription | None:
    """Describe the network of a serialised config without building it; None when it is not a functional model's."""
    try:
        return _describe(config)
    except (KeyError, TypeError, AttributeError, ValueError):  # another kind of model, or manipulated
        return None


def first_difference(stored: Sequence[Mapping[str, Any]], built: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the first difference of two descriptions as a phrase; None when they are of one network.

    Settings that only one of them has are ignored: another version of Keras may have added them.
    """
    for i, (a, b) in enumerate(zip(stored, built, strict=False)):
        if a["class"] != b["class"]:
            return f"operation {i} is a {a['class']} there, a {b['class']} here"
        if setting := _first_setting(a["config"], b["config"], ""):
            return f"operation {i}, a {a['class']}: {setting}"
        if a["inputs"] != b["inputs"]:
            return f"operation {i}, a {a['class']}, reads other tensors"
    if len(stored) != len(built):
        return f"{len(stored)} operations there, {len(built)} here"
    return None


def difference_within(stored: Sequence[Mapping[str, Any]], built: Sequence[Mapping[str, Any]]) -> str | None:
    """Return how a built backbone differs from a stored network that should contain it; None when it is contained.

    Inputs, preprocessing and layers after the backbone are ignored: a network from elsewhere may have another input
    and a top.
    """
    theirs, ours = _body(stored), _body(built)[:-1]  # without the last entry, which names the outputs
    classes, count = [op["class"] for op in ours], len(ours)
    windows = [theirs[i : i + count] for i in range(len(theirs) - count + 1)]
    differences = [first_difference(w, ours) for w in windows if [op["class"] for op in w] == classes]
    if not differences:
        return first_difference(theirs[:count], ours)
    return None if None in differences else differences[0]


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
    """Return a serialised value without the settings that do not count; a tensor as [operation, node, tensor]."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            name, node, tensor = value["config"]["keras_history"]
            return [position[name], node, tensor]
        return {
            key: _normal(entry, position)
            for key, entry in value.items()
            # A setting of None equals one that an older Keras did not have.
            if entry is not None and key not in _LEFT_OUT and not key.endswith("_initializer")
        }
    if isinstance(value, list):
        return [_normal(entry, position) for entry in value]
    return value


def _positions(layers: Any, position: Mapping[str, int]) -> Iterator[list[int]]:
    """Yield each output as [operation, node, tensor], in order; a single output may stand without a list."""
    if isinstance(layers, list) and len(layers) == 3 and isinstance(layers[0], str):
        yield [position[layers[0]], *layers[1:]]
        return
    for entry in layers.values() if isinstance(layers, Mapping) else layers:
        yield from _positions(entry, position)


def _first_setting(stored: Any, built: Any, key: str) -> str | None:
    """Return the first setting that differs, as a phrase."""
    if isinstance(stored, Mapping) and isinstance(built, Mapping):
        phrases = (
            _first_setting(stored[name], built[name], f"{key}.{name}".lstrip(".")) for name in stored if name in built
        )
        return next(filter(None, phrases), None)
    return None if stored == built else f"{key} is {stored} there, {built} here"


def _plain(value: Any) -> Any:
    """Return numpy's numbers, which a config may hold, as JSON types."""
    return value.tolist() if hasattr(value, "tolist") else str(value)

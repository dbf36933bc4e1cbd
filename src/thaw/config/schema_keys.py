"""The keys of a schema: all of them, the sections, and those that hold text."""

import dataclasses
from collections.abc import Iterator
from typing import Any, get_args

HYDRA_TEXT_KEYS = {"hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.job.name", "hydra.output_subdir"}
# `Any` because an index or a fraction is meant as well as a name; the freeze plan reads numbers in texts itself.
TEXT_OR_NUMBER_KEYS = {
    "backbone.freeze", "finetune.freeze", "finetune.head_optimizer.learning_rate", "optimizer.learning_rate",
}  # fmt: skip


def dotted_keys(schema: type, prefix: str = "") -> Iterator[str]:
    """Yield every key of a schema, dotted: `train.batch_size`."""
    for field, name in schema_fields(schema, prefix):
        nested = nested_schema(field)
        yield name
        if nested:
            yield from dotted_keys(nested, f"{name}.")


def section_types(schema: type, prefix: str = "") -> Iterator[tuple[str, type]]:
    """Yield every section of a schema, dotted, with its dataclass."""
    for field, name in schema_fields(schema, prefix):
        if nested := nested_schema(field):
            yield name, nested
            yield from section_types(nested, f"{name}.")


def text_keys(schema: type) -> set[str]:
    """Return every key whose type in the schema is text, a list of texts, or `Any`."""
    return {name for field, name in _all_fields(schema, "") if {str, Any} & {field.type, *get_args(field.type)}}


def _all_fields(schema: type, prefix: str) -> Iterator[tuple[Any, str]]:
    for field, name in schema_fields(schema, prefix):
        yield field, name
        if nested := nested_schema(field):
            yield from _all_fields(nested, f"{name}.")


def schema_fields(schema: type, prefix: str) -> Iterator[tuple[Any, str]]:
    """Yield every dataclass field of one section with its dotted key; Hydra's `defaults` is no key."""
    for field in dataclasses.fields(schema):
        if field.name != "defaults":
            yield field, f"{prefix}{field.name}"


def nested_schema(field: Any) -> type | None:
    """Return the dataclass of a field that is a section, None of any other field."""
    factory = field.default_factory
    return factory if isinstance(factory, type) and dataclasses.is_dataclass(factory) else None


def integer_keys(schema: type) -> set[str]:
    """Return every key whose type in the schema is a whole number, or one or none."""
    return {name for field, name in _all_fields(schema, "") if int in {field.type, *get_args(field.type)}}

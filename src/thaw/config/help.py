"""The text of --help, made from the schema and from what lies in conf/."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

EXAMPLES = """\
Examples
  python train.py experiment=quickstart
  python train.py backbone=inceptionv3 finetune.freeze=172
  python train.py recipe=bottleneck dataset=image_folder dataset.path=photos
  python train.py -m dataset=csv dataset.path=labels.csv split.folds=5 'split.fold=range(5)'
  python train.py resume=RUN_ID
  python train.py -m finetune.freeze=block5c,block6c,all optimizer.learning_rate=1e-4,1e-3

Hydra's own flags: -m (a sweep over comma-separated values), --cfg job (print the merged config), --hydra-help
"""


def keys(schema: type, prefix: str = "") -> Iterator[str]:
    """Every key of a schema, dotted: `train.batch_size`."""
    for field, name in _fields(schema, prefix):
        nested = _nested(field)
        yield name
        if nested:
            yield from keys(nested, f"{name}.")


def sections(schema: type, prefix: str = "") -> Iterator[tuple[str, type]]:
    """Every key of a schema that has keys of its own, dotted, with its type."""
    for field, name in _fields(schema, prefix):
        if nested := _nested(field):
            yield name, nested
            yield from sections(nested, f"{name}.")


def texts(schema: type) -> set[str]:
    """Every key whose type in the schema is text, a list of texts, or whatever is given (`Any`)."""
    found = set()
    for field, name in _all(schema, ""):
        if {str, Any} & {field.type, *get_args(field.type)}:
            found.add(name)
    return found


def _all(schema: type, prefix: str) -> Iterator[tuple[Any, str]]:
    for field, name in _fields(schema, prefix):
        yield field, name
        if nested := _nested(field):
            yield from _all(nested, f"{name}.")


def help_text(conf: Path, schema: type, program: str, defaults: dict[str, Any]) -> str:
    """What --help prints: the choices found in conf/, then every key with its default and meaning.

    defaults: the config, nested, that is run when nothing is given. The schema's own defaults are not that: conf/
    chooses the optimizers and the backbone's boundary.
    """
    lines = [f"{program} key=value ...", ""]
    names = {field.name for field in dataclasses.fields(schema)}
    groups = names | ({"experiment"} if "recipe" in names else set())
    folders = sorted(path for path in conf.iterdir() if path.is_dir() and path.name in groups)
    if folders:
        files = {folder.name: sorted(path.stem for path in folder.glob("*.yaml")) for folder in folders}
        lines += ["Choices (a file each in conf/)", *(f"  {name}= {' '.join(own)}" for name, own in files.items()), ""]
    lines += ["Keys, with their defaults", *_key_lines(schema, "", defaults)]
    return "\n".join([*lines, "", EXAMPLES if "recipe" in names else ""]).rstrip() + "\n"


def _key_lines(schema: type, prefix: str, defaults: dict[str, Any]) -> Iterator[str]:
    for field, name in _fields(schema, prefix):
        nested = _nested(field)
        if nested:
            yield from _key_lines(nested, f"{name}.", defaults[field.name])
            continue
        choices = field.metadata.get("choices")
        text = field.metadata.get("help", "")
        yield (
            f"  {name}={_shown(defaults[field.name])}".ljust(44)
            + f" {text}"
            + (f" [{' | '.join(choices)}]" if choices else "")
        )


def _fields(schema: type, prefix: str) -> Iterator[tuple[Any, str]]:
    for field in dataclasses.fields(schema):
        if field.name != "defaults":
            yield field, f"{prefix}{field.name}"


def _nested(field: Any) -> type | None:
    factory = field.default_factory
    return factory if isinstance(factory, type) and dataclasses.is_dataclass(factory) else None


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)

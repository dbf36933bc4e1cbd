"""The text of --help, made from the schema and the files of conf/."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thaw.config.schema import Config
from thaw.config.schema_keys import nested_schema, schema_fields

EXAMPLES = """\
Examples
  python train.py experiment=quickstart
  python train.py backbone=inceptionv3 finetune.freeze=172
  python train.py recipe=bottleneck dataset=image_folder dataset.path=photos
  python train.py -m dataset=csv dataset.path=labels.csv split.folds=5 'split.fold=range(5)'
  python train.py resume=RUN_ID
  python train.py -m finetune.freeze=block5c,block6c,all optimizer.learning_rate=3e-4,6e-4

Hydra's own flags: -m (a sweep over comma-separated values), --cfg job (print the merged config), --hydra-help
"""


def help_text(conf: Path, schema: type, program: str, defaults: dict[str, Any]) -> str:
    """Return what --help prints: the choices in conf/, then every key with its default and meaning.

    Args:
        conf: folder of the choices.
        schema: dataclass of the keys.
        program: how the command is called.
        defaults: the nested config of a run without arguments. It is not the schema's defaults: conf/ chooses the
            optimizers and the backbone's boundary.
    """
    lines = [f"{program} key=value ...", ""]
    keys = {field.name for field in dataclasses.fields(schema)}
    groups = keys | ({"experiment"} if "recipe" in keys else set())
    folders = sorted(path for path in conf.iterdir() if path.is_dir() and path.name in groups)
    if folders:
        files = {folder.name: sorted(path.stem for path in folder.glob("*.yaml")) for folder in folders}
        lines += ["Choices (a file each in conf/)", *(f"  {key}= {' '.join(files[key])}" for key in files), ""]
    lines += ["Keys, with their defaults", *_key_lines(schema, "", defaults)]
    examples = EXAMPLES.replace("python train.py", program) if schema is Config else ""
    return "\n".join([*lines, "", examples]).rstrip() + "\n"


def _key_lines(schema: type, prefix: str, defaults: dict[str, Any]) -> Iterator[str]:
    for field, name in schema_fields(schema, prefix):
        nested = nested_schema(field)
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


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)

"""Writes the reference pages of the documentation from the schema, conf/ and the tables: they cannot fall behind."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from thaw.__main__ import TOOLS
from thaw.config import schema
from thaw.config.schema_keys import nested_schema, schema_fields
from thaw.data.corrupt_files import KINDS
from thaw.models.backbone_table import BACKBONES

GROUPS = ("recipe", "dataset", "head", "optimizer", "augment", "experiment")
_SOURCES = {"keras.applications": "Keras Applications", "package": "a Python package", "thaw": "thaw"}


def pages(root: Path) -> dict[str, str]:
    """Return the generated pages of the checkout at `root`: path in docs/ -> Markdown."""
    conf = root / "conf"
    return {
        "reference/keys.md": _keys_page(conf),
        "reference/commands.md": _commands_page(),
        "reference/choices.md": _choices_page(conf),
        "reference/backbones.md": _backbones_page(conf),
        "reference/bad-files.md": _bad_files_page(),
    }


def _keys_page(conf: Path) -> str:
    ConfigStore.instance().store(name="schema", node=schema.Config)
    with hydra.initialize_config_dir(str(conf), version_base="1.3"):
        defaults = OmegaConf.to_container(hydra.compose("config"), resolve=False)
    assert isinstance(defaults, dict)
    lines = [
        "# Keys of `thaw train`",
        "",
        "Every key, with the value it has when nothing is set. A [choice](choices.md) sets several at once. "
        "A misspelt key is answered with the nearest match before anything heavy is imported.",
        "",
        *_tables(schema.Config, {str(key): value for key, value in defaults.items()}),
    ]
    return "\n".join(lines) + "\n"


def _commands_page() -> str:
    lines = [
        "# Keys of the other commands",
        "",
        "Each command is `thaw NAME key=value ...` where thaw is installed, and `python scripts/NAME.py key=value ...` "
        "in a checkout. Keys of sections that runs have too (`dataset.`, `backbone.`, `cache.`) are under "
        "[Keys of `thaw train`](keys.md).",
        "",
    ]
    for name, tool in TOOLS.items():
        lines += [f"## {name}", "", (tool.__doc__ or "").strip().splitlines()[0], "", *_head(False)]
        lines += [_row(field, key, None) for field, key in schema_fields(tool, "") if not nested_schema(field)]
        lines.append("")
    return "\n".join(lines)


def _tables(kind: type, defaults: dict[str, Any]) -> Iterator[str]:
    """Yield a table of the keys at the top, then one for each section."""
    fields = list(schema_fields(kind, ""))
    yield from _head(True)
    yield from (_row(field, key, defaults) for field, key in fields if not nested_schema(field))
    for field, key in fields:
        if section := nested_schema(field):
            yield from ("", f"## {key}", "", (section.__doc__ or "").strip().splitlines()[0], "")
            yield from _head(True)
            yield from _section_rows(section, f"{key}.", defaults[field.name])


def _section_rows(kind: type, prefix: str, defaults: dict[str, Any]) -> Iterator[str]:
    for field, key in schema_fields(kind, prefix):
        if nested := nested_schema(field):
            yield from _section_rows(nested, f"{key}.", defaults[field.name])
        else:
            yield _row(field, key, defaults)


def _head(with_default: bool) -> list[str]:
    return ["| key | default | allowed | meaning |", "|---|---|---|---|"]


def _row(field: Any, key: str, defaults: dict[str, Any] | None) -> str:
    default = defaults[field.name] if defaults is not None else _default_of(field)
    meta = field.metadata
    text = meta.get("help", "")
    return f"| `{key}` | {_code(default)} | {_allowed(meta)} | {_cell(text)} |"


def _default_of(field: Any) -> Any:
    return field.default if field.default is not dataclasses.MISSING else field.default_factory()


def _allowed(meta: Any) -> str:
    if meta.get("choices"):
        return ", ".join(f"`{choice}`" for choice in meta["choices"])
    low, above, high = meta.get("min"), meta.get("above"), meta.get("max")
    parts = [f"above {above:g}"] if above is not None else [f"at least {low:g}"] if low is not None else []
    parts += [f"at most {high:,}"] if high is not None else []
    return ", ".join(parts)


def _code(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)
    return f"`{_cell(text)}`" if text else "empty"


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


def _choices_page(conf: Path) -> str:
    lines = [
        "# Choices",
        "",
        "A choice is a file in `conf/` that sets several keys: `head=linear` takes `conf/head/linear.yaml`. Your own "
        "go into a folder of yours: `--config-dir=my_conf`. The backbones have [a page of their own](backbones.md).",
        "",
    ]
    for group in GROUPS:
        lines += [f"## {group}", ""]
        for file in sorted((conf / group).glob("*.yaml")):
            comment, body = _parts(file)
            lines += [f"### {group}={file.stem}", "", *comment, "", "```yaml", *body, "```", ""]
    return "\n".join(lines)


def _parts(file: Path) -> tuple[list[str], list[str]]:
    """The comment at the head of a YAML file, as lines of Markdown, and what follows it."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("# @package")]
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    comment = [line.lstrip("# ") for line in lines[:end]]
    quoted = [f"`{line}`  " if line.startswith(("./", "python ")) else line for line in comment]
    return quoted, [line for line in lines[end:] if line.strip()]


def _backbones_page(conf: Path) -> str:
    lines = [
        "# Backbones",
        "",
        "The pretrained networks. *Boundary* is what `finetune.freeze` is unless it is set: everything through that "
        "block stays frozen. `thaw layers backbone=NAME` lists a network's layers, blocks and clean cuts.",
        "",
        "| backbone | side, px | smallest | boundary | weights from | notes |",
        "|---|---:|---:|---|---|---|",
    ]
    for name, spec in BACKBONES.items():
        file = conf / "backbone" / f"{name}.yaml"
        comment, _ = _parts(file)
        boundary = yaml.safe_load(file.read_text(encoding="utf-8")).get("freeze", "all")
        source = _SOURCES[spec.source]
        note = _cell(" ".join(line for line in comment if not line.startswith("`")))
        lines.append(f"| `{name}` | {spec.default_size} | {spec.min_size} | `{boundary}` | {source} | {note} |")
    return "\n".join(lines) + "\n"


def _bad_files_page() -> str:
    lines = [
        "# Kinds of bad files",
        "",
        "What the column `kind` of `bad_files.csv` and the lines of a run can say of a file that is not used. "
        "[How bad files are handled](../how-to/bad-files.md).",
        "",
        "| kind | meaning |",
        "|---|---|",
        *(f"| `{kind}` | {_cell(meaning)} |" for kind, meaning in KINDS.items()),
    ]
    return "\n".join(lines) + "\n"

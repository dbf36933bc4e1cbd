"""Command `advise`: which network, and how much of it to thaw, from frozen features and a few timed steps."""

import dataclasses
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from rich.table import Table

from thaw.advice.depths import NetworkFigures, Suggestion, suggest
from thaw.cli.compose import compose_config
from thaw.common.console import display_path, format_bytes, print_table, say
from thaw.common.durations import short_seconds
from thaw.common.errors import UserError
from thaw.common.files import write_atomically
from thaw.config import checks
from thaw.config.command_lines import script_command
from thaw.config.schema import BackboneConfig, DatasetConfig
from thaw.config.tool_schemas import AdviseConfig, LayersConfig
from thaw.extract.prepared_run import prepare_network
from thaw.frozen.configured_engine import check_supported

# Arguments of this command that the suggested one has otherwise, or not at all.
_REPLACED = re.compile(r"[+~]*(dataset|backbone|networks|image_sizes|seconds|output|recipe|finetune\.freeze)\b")


def advise(config: AdviseConfig) -> None:
    """Print what each depth of each network tells and costs, and the suggested command; write them with a picture.

    Raises:
        UserError: as a run of these keys would, and for a backbone with random weights.
    """
    sides: list[int | None] = [*config.image_sizes] or [config.backbone.image_size]
    names = config.networks or [config.backbone.name]
    configs = [_of_network(config, name, side) for name in dict.fromkeys(names) for side in dict.fromkeys(sides)]
    for each in configs:
        checks.check_config(each, new_run=True)
        check_supported(each)
        _check_pretrained(each.backbone)
    from thaw.advice.depth_figures import network_figures  # late: it imports TensorFlow

    found: list[NetworkFigures] = []
    for each in configs:
        prepared = prepare_network(each, tell_data=not found)
        found.append(network_figures(prepared))
        print_table(_table(found[-1]))
    suggestion = suggest(found, config.seconds)
    command = _command(config, suggestion)
    folder = Path(config.output).expanduser().absolute()
    _write(folder, found, suggestion, command)
    say(f"suggestion: {suggestion.why}")
    say(f"train: {command}")
    say(f"picture {display_path(folder / 'advise.png')} · figures {display_path(folder / 'advise.json')}")


def _of_network(config: AdviseConfig, name: str, side: int | None) -> AdviseConfig:
    """Return the config with another network, as conf/backbone has it, with an input of this side.

    Raises:
        UserError: weights were asked for, which are those of one network.
    """
    if name == config.backbone.name:
        return dataclasses.replace(config, backbone=dataclasses.replace(config.backbone, image_size=side))
    if config.backbone.weights != "imagenet":
        raise UserError(
            f"backbone.weights={config.backbone.weights} are those of one network, and several are compared: leave "
            "backbone.weights out, or name one backbone"
        )
    backbone: BackboneConfig = compose_config("layers", LayersConfig, [f"backbone={name}"]).backbone
    backbone = dataclasses.replace(backbone, image_size=side)
    # The depth is what is looked for, and a block's name of one network is none of another.
    return dataclasses.replace(
        config, backbone=backbone, finetune=dataclasses.replace(config.finetune, freeze=backbone.freeze)
    )


def _check_pretrained(backbone: BackboneConfig) -> None:
    if backbone.weights == "none":
        raise UserError(
            f"backbone={backbone.name} with backbone.weights=none has random weights, whose features say nothing of "
            "the data. Use imagenet or a weights file"
        )


def _table(network: NetworkFigures) -> Table:
    title = f"{network.backbone} at {network.image_size} px"
    if network.imagenet is not None:
        title += f" · {network.imagenet:.3f} on ImageNet"
    table = Table(title=title, title_justify="left")
    length = f"stage thaw, {network.epochs} epochs"
    for name in ("finetune.freeze", "maps", "accuracy", "in the cache", "an epoch", length):
        table.add_column(name, justify="left" if name == "finetune.freeze" else "right")
    for figures in network.depths:
        height, width, channels = figures.depth.shape
        accuracy, seconds = figures.accuracy, figures.epoch_seconds
        table.add_row(
            figures.depth.block,
            f"{height}x{width}x{channels}",
            "" if accuracy is None else f"{accuracy:.3f} ± {figures.standard_error:.3f}",
            format_bytes(figures.nbytes),
            "" if seconds is None else short_seconds(seconds),
            "" if seconds is None else short_seconds(network.epochs * seconds),
        )
    return table


def _command(config: AdviseConfig, suggestion: Suggestion) -> str:
    """Return the command line that trains what is suggested."""
    given = [argument for argument in sys.argv[1:] if not _REPLACED.match(argument)]
    arguments = [f"dataset={config.dataset.name}", *_given("dataset", config.dataset, DatasetConfig(), ("name",))]
    arguments.append(f"backbone={suggestion.backbone}")
    chosen = _of_network(config, suggestion.backbone, suggestion.image_size)
    arguments += _given("backbone", chosen.backbone, BackboneConfig(), ("name", "freeze"))
    if suggestion.freeze == "all":
        # The head whose accuracy was found, if no other one is asked for.
        head = [] if any(argument.startswith("head=") for argument in given) else ["head=logistic"]
        arguments += ["recipe=bottleneck", *head]
    else:
        arguments.append(f"finetune.freeze={suggestion.freeze}")
    arguments += given
    return f"{script_command('train')} {shlex.join(arguments)}"


def _given(section: str, values: Any, defaults: Any, left_out: tuple[str, ...]) -> list[str]:
    """Return the keys of a section whose values are not the defaults, as arguments."""
    names = [field.name for field in dataclasses.fields(values) if field.name not in left_out]
    given = [name for name in names if getattr(values, name) != getattr(defaults, name)]
    return [f"{section}.{name}={getattr(values, name)}" for name in given]


def _write(folder: Path, networks: list[NetworkFigures], suggestion: Suggestion, command: str) -> None:
    from thaw.report.depth_charts import DepthPoint, depth_png  # late: it imports Altair

    folder.mkdir(parents=True, exist_ok=True)
    several = len({network.backbone for network in networks}) < len(networks)
    points = [
        DepthPoint(
            f"{network.backbone}, {network.image_size} px" if several else network.backbone,
            figures.depth.block,
            figures.depth.boundary / network.features.depth.boundary,
            figures.accuracy,
            figures.standard_error,
            None if figures.epoch_seconds is None else network.epochs * figures.epoch_seconds,
        )
        for network in networks
        for figures in network.depths
    ]
    lengths = {network.epochs for network in networks}
    write_atomically(folder / "advise.png", depth_png(points, min(lengths) if len(lengths) == 1 else None))
    record = {
        "networks": [dataclasses.asdict(network) for network in networks],
        "epochs": suggestion.epochs,
        "suggestion": dataclasses.asdict(suggestion),
        "command": command,
    }
    write_atomically(folder / "advise.json", (json.dumps(record, indent=2) + "\n").encode())

"""Lists a backbone's layers with its blocks and freeze boundaries."""

import csv
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from thaw import tracking
from thaw.common import tensorflow_setup
from thaw.common.console import print_table, say
from thaw.config.schema import BackboneConfig
from thaw.config.tool_schemas import LayersConfig
from thaw.models import backbone_table, freeze
from thaw.models.layer_graph import LayerGraph

if TYPE_CHECKING:
    from thaw.models.backbones import Backbone  # which imports Keras

COLUMNS = ("index", "name", "type", "shape", "params", "block", "cut")
Row = list[Any]  # a cell of each column


def layers(config: LayersConfig) -> None:
    """Print every layer of the backbone. `cut`: tensors that cross when the boundary lies behind the layer."""
    chosen = tracking.resolve_run_weights(config.backbone, config.tracking_uri, Path(config.outputs))
    backbone_table.check_backbone(chosen)
    tensorflow_setup.start_tensorflow(0, None)
    from thaw.models import backbones

    if chosen.weights in ("imagenet", "none"):  # a listing needs no weights, but the graph that they call for
        built = backbones.from_model(chosen, next(backbones.build_variants(chosen)))
    else:
        built = backbones.build_backbone(chosen)
    rows = _rows(built.graph)
    if config.format == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    elif config.format == "json":
        print(json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in rows], indent=1))
    else:
        _print(rows, built, _params_with_top(chosen))


def _rows(graph: LayerGraph) -> list[Row]:
    rows: list[Row] = []
    blocks = iter(graph.blocks)
    block = next(blocks, None)
    for layer in graph.layers:
        cut = len(freeze.cut_operations(graph, layer.index + 1))
        shape = "x".join("?" if side is None else str(side) for side in layer.shape)
        rows.append([layer.index, layer.name, layer.type, shape, layer.params, block.name if block else "", cut])
        if block and layer.index == block.last_layer:
            block = next(blocks, None)
    return rows


def _params_with_top(config: BackboneConfig) -> int | None:
    """Parameters of the published classifier; None for a backbone of thaw's own."""
    from thaw.models import backbones

    if backbone_table.backbone_spec(config.name).source == "thaw":
        return None
    # At the default size: VGG's and NASNet's tops fit no other.
    published = dataclasses.replace(config, image_size=None, weights="none")
    tensorflow_setup.start_tensorflow(0, None)
    return int(backbones.build_imagenet_classifier(published).count_params())


def _print(rows: list[Row], built: "Backbone", params_with_top: int | None) -> None:
    table = Table(title=f"{built.name} at {built.image_size}x{built.image_size}", title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="right" if column in ("index", "params", "cut") else "left", no_wrap=True)
    last_layers = {block.last_layer for block in built.graph.blocks}
    for row in rows:
        cells = [f"{cell:,}" if column == "params" else str(cell) for column, cell in zip(COLUMNS, row, strict=True)]
        cells[-1] = "clean" if row[-1] == 1 else cells[-1]
        table.add_row(*cells, end_section=row[0] in last_layers)
    print_table(table)
    params = sum(layer.params for layer in built.graph.layers)
    statistics = sum(layer.batchnorm_statistics for layer in built.graph.layers)
    say(f"{len(rows)} layers · {params:,} parameters without the top, {statistics:,} of them BatchNorm statistics")
    if params_with_top is not None:
        say(f"with its ImageNet top: {params_with_top:,} parameters")
    say("cut: tensors that cross when all layers up to this one are frozen; clean is one")
    say("freeze through a layer or block: finetune.freeze=NAME, or finetune.freeze=N for layers[:N]")

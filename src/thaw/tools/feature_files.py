"""Features of images, of any layer of a network, in a .npy or Parquet file: of one image, or of any number."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from thaw.common.console import display_path, format_bytes, printable, progress, say
from thaw.common.csv_text import csv_text
from thaw.common.errors import UserError
from thaw.common.files import remove_files, write_atomically
from thaw.config.tool_schemas import PredictConfig
from thaw.data.file_bytes import BadImageError
from thaw.results.computation_choice import Computation
from thaw.results.network_features import FeatureFunction, FeatureNetwork, feature_function, load_feature_network
from thaw.results.predicted_files import DECODE_GROUP, ImageReader, NetworkInput, find_images
from thaw.tools import partial_identity
from thaw.tools.parquet_features import write_parquet
from thaw.tools.partial_record import interruption_noted, part_of
from thaw.tools.partial_rows import PartialRows
from thaw.tools.picture_names import check_no_image_is_replaced

CALL_BYTES = 64_000_000  # of the features that the network returns at once
MIN_CALL = 8  # images: OpenVINO and Keras compute as many at a time


def write_features(config: PredictConfig) -> None:
    """Write what the layer `features=` computes of every image to the file `output=`.

    Raises:
        UserError: there is no such layer, or no room; at the end, when some files could not be read.
    """
    assert config.features is not None
    assert config.output is not None
    files, target = find_images(config.images), Path(config.output).expanduser().absolute()
    _check_replaces_nothing(config.output, target, files)
    network = load_feature_network(
        config.features, config.model, config.backbone, Path(config.outputs), config.tracking_uri
    )
    function, how = feature_function(network, config.engine, config.precision)
    wanted = NetworkInput(
        network.classifier.image_size, config.bits or network.classifier.bits, network.classifier.resize
    )
    reader = ImageReader(files, [wanted])
    shape = "x".join(map(str, network.shape))
    size = 4 * int(np.prod(network.shape)) * len(files)
    say(
        f"features of {config.features} · {shape} float32 · images: {len(files):,} · {format_bytes(size)} · "
        f"{how.choice.engine} in {how.choice.frozen}"
    )
    with PartialRows(target, _identity(config.features, network, how, reader), network.shape) as partial:
        _check_room(target, size - partial.rows * size // len(files), size)
        if partial.done:
            say(f"images that are there already: {partial.done:,} of {len(files):,}")
        reader.unreadable += [BadImageError(files[i], reason, kind) for i, reason, kind in partial.unreadable]
        _compute(partial, reader, function, config)
        _publish(partial, reader.files, target, {"layer": config.features, "shape": shape})
    if warning := reader.few_bits_warning():
        print(warning, file=sys.stderr)
    reader.check_all_read()


def _identity(layer: str, network: FeatureNetwork, how: Computation, reader: ImageReader) -> dict[str, Any]:
    """Return everything that the rows depend on."""
    quantized = network.classifier.judged_with.quantized_sha256 if how.quantized is not None else ""
    return {
        "network": partial_identity.network_identity(network.model),
        "layer": [layer, *network.shape],
        "list of images": partial_identity.files_sha256(reader.files),
        "decoding": partial_identity.decoding_identity(reader),
        "engine or precision": partial_identity.engine_identity(how.choice, how.boundary, quantized),
    }


def _check_room(target: Path, missing: int, size: int) -> None:
    """Raise UserError where the features do not fit. Parquet is made of the partial file, which takes as much again."""
    needed = missing + (size if target.suffix.lower() == ".parquet" else 0)
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise UserError(
            f"output={target}: writing these features takes {format_bytes(needed)}, and {format_bytes(free)} are free "
            "there. Choose another disk, a later layer, or features=pooled"
        )


def _compute(partial: PartialRows, reader: ImageReader, function: FeatureFunction, config: PredictConfig) -> None:
    """Append the rows of all files that are not there yet."""
    total = len(reader.files)
    step = min(config.batch_size, max(MIN_CALL, CALL_BYTES // (4 * int(np.prod(partial.shape)))))
    with interruption_noted(lambda: partial.done, total), progress("features", total - partial.done) as bar:
        for group in reader.groups(partial.done):
            for start in range(0, len(group), step):
                partial.add(function(np.stack([image for _, (image,) in group[start : start + step]])))
            files = reader.files[partial.done : partial.done + DECODE_GROUP]
            readable = {file for file, _ in group}
            bad = [partial.done + i for i, file in enumerate(files) if file not in readable]
            errors = reader.unreadable[len(reader.unreadable) - len(bad) :]
            partial.commit(len(files), [(i, error.reason, error.kind) for i, error in zip(bad, errors, strict=True)])
            bar.advance(len(files))


def _check_replaces_nothing(output: str, target: Path, files: Sequence[str]) -> None:
    """Raise UserError when the features, or their list of images, would replace a file that is not an earlier one.

    Unfinished features beside a list are ours: the list is written just before they get their name.
    """
    listing = target.with_suffix(".csv")
    check_no_image_is_replaced(f"output={output}", [target, listing], files)
    if target.suffix.lower() == ".npy" and listing.exists() and not (target.exists() or part_of(target).exists()):
        raise UserError(
            f"output={output} has its list of images beside it, as {listing.name}: a file of that name is there, "
            "without features, and may be yours. Choose another name"
        )


def _publish(partial: PartialRows, files: Sequence[str], target: Path, metadata: dict[str, str]) -> None:
    """Give the finished features their name; they replace older ones of this name with their list of images."""
    bad = {i for i, _, _ in partial.unreadable}
    names = [file for i, file in enumerate(files) if i not in bad]
    if not names:
        partial.remove()
        return
    partial.finish()
    shown = printable(str(display_path(target)))
    if target.suffix.lower() == ".parquet":
        write_parquet(partial.part, names, target, metadata)
        partial.remove()
        say(f"wrote {shown} · rows of image and feature: {len(names):,}")
        return
    listing = target.with_suffix(".csv")
    remove_files(target)  # never an old array beside a new list
    write_atomically(listing, csv_text(("row", "image"), enumerate(names)).encode("utf-8", "surrogateescape"))
    partial.move_to(target)
    say(f"wrote {shown} · rows: {len(names):,} · their images in {printable(listing.name)}")

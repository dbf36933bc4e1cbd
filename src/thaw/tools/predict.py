"""Predicts the classes of images, with a published ImageNet network or those that thaw trained."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from thaw.common.console import ProgressHandle, printable, progress
from thaw.common.errors import UserError
from thaw.common.hardware import detect_processor
from thaw.config.tool_schemas import PredictConfig
from thaw.frozen import engine
from thaw.results import trained_classifier
from thaw.results.augmented_views import VIEWS
from thaw.results.ensemble import Ensemble, check_same_classes, combine, load_classifiers
from thaw.results.predicted_files import ImageReader, PredictedImage, find_images, predicted_images
from thaw.tools import partial_identity
from thaw.tools.chart_files import ChartFiles
from thaw.tools.explained_images import ExplainedImages
from thaw.tools.feature_files import write_features
from thaw.tools.partial_listing import ListingState, PartialListing, bad_list_of
from thaw.tools.partial_record import interruption_noted, part_of
from thaw.tools.picture_names import check_no_image_is_replaced
from thaw.tools.predict_options import check_options
from thaw.tools.prediction_listing import UNKNOWN, form_of, list_image
from thaw.tools.printed_listing import PrintedListing

Listing = PartialListing | PrintedListing


def predict(config: PredictConfig) -> None:
    """List the most probable classes of every image; with `features=` write a layer's output instead.

    Raises:
        UserError: keys contradict each other; at the end, when some files could not be read.
    """
    check_options(config)
    engine.check_engine(config.engine, config.precision, "auto", detect_processor())
    if config.features is not None:
        write_features(config)
        return
    files = find_images(config.images)
    if config.output:
        target = _target(config.output)
        check_no_image_is_replaced(f"output={config.output}", [target, part_of(target), bad_list_of(target)], files)
    networks = load_classifiers(config.model, config.backbone, Path(config.outputs), config.tracking_uri)
    if config.explain and len(networks) > 1:
        raise UserError(
            "explain=true shows where one network looks, and model= stands for several: give one run, or leave it out"
        )
    check_same_classes(networks)
    functions = [
        trained_classifier.probability_function(one, config.engine, config.precision, calibrated=config.calibrated)
        for one in networks
    ]
    network = combine(networks, functions, tta=config.tta, bits=config.bits)
    _note_what_is_averaged(network, config)
    reader = ImageReader(files, network.inputs)
    with _open_listing(config, network, reader) as listing:
        _predict_files(network, reader, listing, config)
        listing.finish()
    if warning := reader.few_bits_warning():
        print(warning, file=sys.stderr)
    _report_rejected(listing.state, config)
    _check_all_read(listing.state, len(files), config)


def _target(output: str) -> Path:
    return Path(os.path.realpath(Path(output).expanduser()))  # a link stays, and what it names is replaced


def _note_what_is_averaged(network: Ensemble, config: PredictConfig) -> None:
    """Say what takes longer than a prediction of one network, and what cannot be told apart."""
    parts = [f"{len(network.members)} networks"] * (len(network.members) > 1)
    parts += [f"{VIEWS[config.tta]} views of each image"] * (config.tta != "none")
    if parts:
        cost = f"a network runs {network.passes} times an image, and it takes about {network.passes} times as long"
        print(f"note: probabilities are the mean over {' and '.join(parts)}: {cost}", file=sys.stderr)
    if config.reject_below is not None and UNKNOWN in network.class_names:
        print(
            f"note: a class is called {UNKNOWN}, as the label of rejected images is: `rejected` tells them apart",
            file=sys.stderr,
        )


@contextmanager
def _open_listing(config: PredictConfig, network: Ensemble, reader: ImageReader) -> Iterator[Listing]:
    """Open what the predictions are written to: a file, which continues an earlier one, a pipe, or the terminal."""
    form, labelled = form_of(config.format, config.output), config.reject_below is not None
    with ExitStack() as stack:
        if config.output is None:
            yield stack.enter_context(PrintedListing(form, labelled=labelled))
            return
        target = _target(config.output)
        if target.exists() and not target.is_file():  # a pipe or a device
            stream = stack.enter_context(target.open("wb"))
            yield stack.enter_context(PrintedListing(form, labelled=labelled, stream=stream))
            return
        identity = {**_identity(config, network, reader), "form": [form, config.top, config.reject_below]}
        # Charts and explanations are made of images when these are predicted.
        resumable = not (config.chart or config.explain)
        partial = PartialListing(target, form, identity, labelled=labelled, resumable=resumable)
        stack.enter_context(partial)
        if partial.state.done:
            print(f"images that are there already: {partial.state.done:,} of {len(reader.files):,}", file=sys.stderr)
        stack.enter_context(interruption_noted(lambda: partial.state.done, len(reader.files)))
        yield partial


def _identity(config: PredictConfig, network: Ensemble, reader: ImageReader) -> dict[str, Any]:
    """Return everything that the probabilities depend on."""
    members = network.members
    return {
        "network": [partial_identity.network_identity(member.classifier.model) for member in members],
        "classes": network.class_names,
        "list of images": partial_identity.files_sha256(reader.files),
        "decoding": partial_identity.decoding_identity(reader),
        "engine or precision": [
            [
                *partial_identity.engine_identity(member.probabilities.choice, None, ""),
                asdict(member.classifier.judged_with),
            ]
            for member in members
        ],
        "calibration": [member.classifier.temperature if config.calibrated else None for member in members],
        "tta": config.tta,
    }


def _predict_files(network: Ensemble, reader: ImageReader, listing: Listing, config: PredictConfig) -> None:
    """Write the most probable classes of all files that are not there yet; draw what is asked for besides."""
    names, files, options = network.class_names, reader.files, reader.inputs[0].options
    charts = ChartFiles(config.chart, files, names, config.top, options) if config.chart else None
    explained = (
        ExplainedImages(config.explain_output, files, network.members[0].classifier, options)
        if config.explain
        else None
    )
    with _progress(config, len(files) - listing.state.done) as bar:

        def end_group(read: int) -> None:
            listing.add_bad(reader.take_unreadable())
            listing.commit(read)
            bar.advance(read)

        batches = predicted_images(reader, network, config.batch_size, end_group, listing.state.done)
        for batch in batches:
            listing.add([list_image(i.file, i.probabilities, names, config.top, config.reject_below) for i in batch])
            _draw(batch, charts, explained)
    if charts:
        charts.report()
    if explained:
        explained.finish()


def _draw(batch: list[PredictedImage], charts: ChartFiles | None, explained: ExplainedImages | None) -> None:
    for image in batch if charts else []:
        assert charts is not None
        charts.add(image)
    if explained:
        explained.add(batch)


class _NoBar:
    def advance(self, n: int = 1) -> None:
        pass

    def describe(self, text: str) -> None:
        pass


@contextmanager
def _progress(config: PredictConfig, total: int) -> Iterator[ProgressHandle]:
    """Show progress, but not among rows that are printed to a terminal, which show it themselves."""
    if config.output is None and config.format != "table" and sys.stdout.isatty():
        yield _NoBar()
        return
    with progress("predicting", total) as bar:
        yield bar


def _report_rejected(state: ListingState, config: PredictConfig) -> None:
    if config.reject_below is not None:
        line = f"rejected: {state.rejected:,} of {state.images:,} images, whose best probability is below "
        print(f"{line}{config.reject_below:g}: their label is {UNKNOWN}", file=sys.stderr)


def _check_all_read(state: ListingState, total: int, config: PredictConfig) -> None:
    """Raise UserError that names the first files that could not be read, if there are any."""
    if not state.bad:
        return
    lines = [f"  {line}" for line in state.first_bad]
    if more := state.bad - len(state.first_bad):
        listed = printable(bad_list_of(_target(config.output)).name) if config.output else ""
        where = f"all are listed in {listed}" if listed else "output=FILE lists all of them, in FILE.bad.csv"
        lines.append(f"  and {more:,} more: {where}")
    raise UserError(f"{state.bad:,} of {total:,} files could not be read:\n" + "\n".join(lines))

"""Runs that were tested on other images are evaluated again, on the test images of the first run."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from thaw.common.console import printable, progress
from thaw.common.errors import UserError
from thaw.compare.compared_run import ComparedRun, ManifestImage, Prediction
from thaw.compare.disagreements import dataset_on_this_machine
from thaw.data.dataset_table import load_named_catalog
from thaw.data.file_bytes import read_bytes_and_stats
from thaw.models.saved_model import SavedNetwork
from thaw.results.evaluation_seen import read_training_record
from thaw.results.predicted_files import ImageReader, NetworkInput, predicted_images
from thaw.results.trained_classifier import load_trained, probability_function, settings_of_tags

BATCH = 32  # images that a network gets at once


def evaluate_again(runs: Sequence[ComparedRun], outputs: Path, uri: str) -> tuple[list[ComparedRun], list[str]]:
    """Return the runs with predictions of the first one's test images, and sentences on what was done.

    A run that kept its predictions of all of these images is not run again. Images that a network has seen in training
    or validation would flatter it: they are left out for all.

    Raises:
        UserError: The first run's files are gone, or have changed; a run kept no network; or each image was seen.
    """
    first = runs[0]
    seen = {run.stored.id: _seen(run, outputs, uri) for run in runs}
    images = {
        key: image
        for key, image in first.test_images.items()
        if not any(image.sha256 in digests for digests in seen.values())
    }
    left_out = len(first.test_images) - len(images)
    if not images:
        raise UserError(
            f"images=evaluate: all {left_out:,} test images of the first run, {first.short_id}, were seen by another "
            "run's network in its training or validation: nothing is left to compare on"
        )
    again = [run for run in runs if not all(key in run.predictions for key in images)]
    files = _files(first, images) if again else {}
    evaluated = []
    for run in runs:
        predictions = _predict(run, images, files) if run in again else run.predictions
        kept = {key: prediction for key, prediction in predictions.items() if key in images}
        evaluated.append(replace(run, test_images=images, predictions=kept))
    remark = f"Compared on the test images of {first.short_id}. Evaluated again: {len(again)} of {len(runs)} runs."
    if left_out:
        remark += f" Left out: {left_out:,} images that one of the networks saw in its training or validation."
    return evaluated, [remark]


def _seen(run: ComparedRun, outputs: Path, uri: str) -> frozenset[str]:
    """Return the sha256 of what a run, and the runs that its weights come from, trained and validated on."""
    return frozenset(read_training_record(run.stored.id, uri, outputs).images)


def _files(first: ComparedRun, images: Mapping[str, ManifestImage]) -> dict[str, str]:
    """Return the path of each image by content key; its content must be that of the run."""
    dataset = dataset_on_this_machine(first)
    if dataset is None:
        raise UserError(f"images=evaluate: the data set of run {first.short_id} is no longer where it was read")
    catalog = load_named_catalog(dataset)
    if catalog.paths is None:
        raise UserError(f"images=evaluate needs image files, and {dataset.name} has none: compare with images=common")
    paths = dict(zip(catalog.names, catalog.paths, strict=True))
    for image in images.values():
        path = paths.get(image.name)
        if path is None or hashlib.sha256(read_bytes_and_stats(path)[0]).hexdigest() != image.sha256:
            state = "gone" if path is None else "another one now"
            raise UserError(
                f"images=evaluate: the test image {printable(image.name)} of run {first.short_id} is {state}. "
                "Compare with images=common"
            )
    return {key: paths[image.name] for key, image in images.items()}


def _predict(run: ComparedRun, images: Mapping[str, ManifestImage], files: Mapping[str, str]) -> dict[str, Prediction]:
    saved = SavedNetwork(run.stored.model_file(), run.stored.artifact_path("network"))
    classifier = load_trained(saved, settings_of_tags(run.stored.tags))
    wanted = NetworkInput(classifier.image_size, classifier.bits, classifier.resize)
    reader = ImageReader([files[key] for key in images], [wanted])
    labels = {name: i for i, name in enumerate(classifier.class_names)}
    with progress(f"evaluating {run.short_id}", len(images)) as bar:
        batches = predicted_images(reader, probability_function(classifier), BATCH, bar.advance)
        rows = np.concatenate([np.stack([entry.probabilities for entry in batch]) for batch in batches])
    reader.check_all_read()
    return {
        key: Prediction(classifier.class_names[int(row.argmax())], float(row.max()), float(row[labels[image.label]]))
        for (key, image), row in zip(images.items(), rows, strict=True)
    }

"""Explores a data set: what a run would train on, and which images deserve a second look."""

import dataclasses
import math
from pathlib import Path

import numpy as np

from thaw import tracking
from thaw.cache import DiskCache
from thaw.common.console import display_path, format_bytes, print_table, say
from thaw.common.errors import UserError
from thaw.common.files import write_atomically
from thaw.config import command_lines, run_names
from thaw.config.tool_schemas import ExploreConfig
from thaw.explore import (
    backbone_features,
    csv_tables,
    findings,
    html_page,
    image_stats,
    label_errors,
    near_duplicates,
    scanned_images,
)
from thaw.explore.findings import Finding
from thaw.explore.label_errors import LabelScores
from thaw.explore.near_duplicates import SimilarPair
from thaw.explore.scanned_images import ScannedImages

MANY_NEAR_DUPLICATES = 0.25  # share of all images from which they describe the data set rather than single files


def explore(config: ExploreConfig) -> None:
    """Write explore.html, findings.csv, images.csv and groups.csv, and print a summary.

    Bad files are findings and stop nothing; other mistakes raise UserError, as in a run.
    """
    backbone_features.check_supported(config)
    backbone = tracking.resolve_run_weights(config.backbone, config.tracking_uri, Path(config.outputs))
    config = dataclasses.replace(config, backbone=backbone)
    folder = Path(config.output).expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    store = DiskCache(Path(config.cache.dir).expanduser().absolute(), config.cache.max_gb * 1e9, outputs=folder)
    images = scanned_images.scan_images(config, store)
    say(_data_line(config, images))
    distinct = _first_rows_by_content(images)
    stats = image_stats.compute_image_stats(images.pixels)
    features = backbone_features.pooled_features(config, images.pixels, images.pixels.indices, store)
    neighborhood = near_duplicates.find_neighbors(features, distinct)
    pairs = near_duplicates.near_duplicate_pairs(neighborhood, stats, config.similarity)
    outlier_scores = near_duplicates.outlier_scores(neighborhood)
    labels = label_errors.score_labels(features, images.labels, len(images.class_names), config.folds, config.seed)
    all_findings = [
        *findings.bad_files(images),
        *findings.exact_duplicates(images),
        *findings.near_duplicates(images, pairs),
        *findings.mislabelled(images, labels),
        *findings.outliers(images, neighborhood.rows, outlier_scores),
        *findings.unusual_images(images, stats),
    ]
    remarks = _remarks(config, images, labels, pairs)
    title = config.dataset.path or config.dataset.name
    texts = {
        "explore.html": html_page.render_page(
            images, stats, all_findings, title=title, remarks=remarks, max_shown=config.thumbnails
        ),
        "findings.csv": csv_tables.findings_csv(all_findings),
        "images.csv": csv_tables.images_csv(images, stats, labels, neighborhood, outlier_scores),
    }
    if images.pixels.catalog.paths is not None:
        texts["groups.csv"] = csv_tables.groups_csv(images, pairs)
    for name, text in texts.items():
        write_atomically(folder / name, text.encode("utf-8", "surrogateescape"))
    _print_summary(images, all_findings, remarks, folder)


def _first_rows_by_content(images: ScannedImages) -> np.ndarray:
    rows = np.sort(np.unique(np.array(images.pixels.sha256), return_index=True)[1])
    if len(rows) < 2:
        raise UserError(f"all {len(images)} pictures have the same content: there is nothing to compare")
    return rows


def _remarks(config: ExploreConfig, images: ScannedImages, labels: LabelScores, pairs: list[SimilarPair]) -> list[str]:
    """Return what readers should know about the data set and the findings as a whole."""
    remarks = list(images.remarks)
    if not math.isnan(labels.probe_accuracy):
        remarks.append(
            f"A probe on the features of {config.backbone.name} ({config.folds} folds) gave "
            f"{labels.probe_accuracy:.1%} of the images their own label."
        )
    if len(pairs) > MANY_NEAR_DUPLICATES * len(images):
        remarks.append(
            f"{len(pairs):,} of {len(images):,} images are near duplicates of others: either there is little else in "
            f"this data, or its pictures are all much alike; then ask for more than similarity={config.similarity:g}."
        )
    return remarks


def _data_line(config: ExploreConfig, images: ScannedImages) -> str:
    counts = [f"{name} {images.splits.count(name):,}" for name in html_page.used_splits(images)]
    counts = counts or [f"{len(images):,} images"]
    bad = f" · {len(images.bad_files)} files cannot be used" if images.bad_files else ""
    name = run_names.dataset_name(config.dataset)
    return f"data: {name} · {len(images.class_names)} classes · {' · '.join(counts)}{bad}"


def _print_summary(images: ScannedImages, all_findings: list[Finding], remarks: list[str], folder: Path) -> None:
    print_table(csv_tables.class_table(images, all_findings))
    for remark in remarks:
        say(remark)
    if all_findings:
        print_table(csv_tables.finding_table(all_findings))
    else:
        say("nothing was found that deserves a second look")
    page = folder / "explore.html"
    say(f"page {display_path(page)} · {format_bytes(page.stat().st_size)}")
    say(f"all findings {display_path(folder / 'findings.csv')} · all images {display_path(folder / 'images.csv')}")
    if any(finding.kind == "near_duplicate" for finding in all_findings) and images.pixels.catalog.paths is not None:
        table = command_lines.shell_assignment("dataset.path", str(display_path(folder / "groups.csv")))
        say(f"near duplicates on one side: {command_lines.script_command('train')} dataset=csv {table}")

"""Looks through a data set: what a run would train on, and what in it deserves a second look."""

import dataclasses
import math
from pathlib import Path

import numpy as np

from thaw import tracking
from thaw.cache import DiskCache
from thaw.common.console import print_table, say
from thaw.common.errors import UserError
from thaw.config import command_lines
from thaw.config.tool_schemas import ExploreConfig
from thaw.explore import (
    backbone_features,
    csv_tables,
    findings,
    html_page,
    image_stats,
    label_errors,
    neighbors,
    scanned_images,
)
from thaw.explore.findings import Finding
from thaw.explore.label_errors import LabelScores
from thaw.explore.neighbors import SimilarPair
from thaw.explore.scanned_images import ScannedImages
from thaw.tools.cache import format_bytes

MANY_NEAR_DUPLICATES = (
    0.25  # near duplicates, as a share of all images, from which they say more of the data than of single files
)


def explore(config: ExploreConfig) -> None:
    """Write explore.html, findings.csv, images.csv and groups.csv, and print the short of it.

    Raises UserError as the other commands do. Bad files are findings and stop nothing.
    """
    backbone_features.check_pretrained(config)
    weighed = tracking.resolve_run_weights(config.backbone, config.tracking_uri, Path(config.outputs))
    config = dataclasses.replace(config, backbone=weighed)
    folder = Path(config.output).expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    store = DiskCache(Path(config.cache.dir).expanduser().absolute(), config.cache.max_gb * 1e9, outputs=folder)
    seen = scanned_images.scan_images(config, store)
    say(_data_line(config, seen))
    distinct = _first_of_each_content(seen)
    looked = image_stats.compute_image_stats(seen.pixels)
    pooled = backbone_features.pooled_features(config, seen.pixels, seen.pixels.indices, store)
    near = neighbors.find_neighbors(pooled, distinct)
    pairs = neighbors.near_duplicate_pairs(near, looked, config.similarity)
    odd = neighbors.outlier_scores(near)
    judged = label_errors.score_labels(pooled, seen.labels, len(seen.class_names), config.folds, config.seed)
    found = [
        *findings.bad_files(seen),
        *findings.exact_duplicates(seen),
        *findings.near_duplicates(seen, pairs),
        *findings.mislabelled(seen, judged),
        *findings.outliers(seen, near.rows, odd),
        *findings.by_statistics(seen, looked),
    ]
    said = _remarks(config, seen, judged, pairs)
    _write(folder / "explore.html", html_page.render_page(seen, looked, found, _title(config), said, config.thumbnails))
    _write(folder / "findings.csv", csv_tables.findings_csv(found))
    _write(folder / "images.csv", csv_tables.images_csv(seen, looked, judged, near, odd))
    if seen.pixels.catalog.paths is not None:
        _write(folder / "groups.csv", csv_tables.groups_csv(seen, pairs))
    _show(seen, found, said, folder)


def _first_of_each_content(seen: ScannedImages) -> np.ndarray:
    rows = np.sort(np.unique(np.array(seen.pixels.sha256), return_index=True)[1])
    if len(rows) < 2:
        raise UserError(f"all {len(seen)} pictures have the same content: there is nothing to compare")
    return rows


def _title(config: ExploreConfig) -> str:
    return config.dataset.path or config.dataset.name


def _remarks(config: ExploreConfig, seen: ScannedImages, judged: LabelScores, pairs: list[SimilarPair]) -> list[str]:
    """What the figures rest on, for people who read them."""
    said = list(seen.remarks)
    if not math.isnan(judged.probe_accuracy):
        said.append(
            f"A probe on the features of {config.backbone.name} ({config.folds} folds) gave "
            f"{judged.probe_accuracy:.1%} of the images their own label."
        )
    if len(pairs) > MANY_NEAR_DUPLICATES * len(seen):
        said.append(
            f"{len(pairs):,} of {len(seen):,} images are near duplicates of others: either there is little else in "
            f"this data, or its pictures are all much alike; then ask for more than similarity={config.similarity:g}."
        )
    return said


def _data_line(config: ExploreConfig, seen: ScannedImages) -> str:
    counts = [f"{name} {seen.splits.count(name):,}" for name in html_page.used_splits(seen)] or [
        f"{len(seen):,} images"
    ]
    bad = f" · {len(seen.bad_files)} files cannot be used" if seen.bad_files else ""
    return f"data: {config.dataset.name} · {len(seen.class_names)} classes · {' · '.join(counts)}{bad}"


def _write(file: Path, text: str) -> None:
    """In one step, so that a page is whole or the old one."""
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")
    fresh.replace(file)


def _show(seen: ScannedImages, found: list[Finding], said: list[str], folder: Path) -> None:
    print_table(csv_tables.class_table(seen, found))
    for remark in said:
        say(remark)
    if found:
        print_table(csv_tables.finding_table(found))
    else:
        say("nothing was found that deserves a second look")
    page_file = folder / "explore.html"
    say(f"page {_shown(page_file)} · {format_bytes(page_file.stat().st_size)}")
    say(f"all findings {_shown(folder / 'findings.csv')} · all images {_shown(folder / 'images.csv')}")
    if any(finding.kind == "near_duplicate" for finding in found) and seen.pixels.catalog.paths is not None:
        table = command_lines.shell_assignment("dataset.path", str(_shown(folder / "groups.csv")))
        say(f"near duplicates on one side: {command_lines.script_command('train')} dataset=csv {table}")


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path

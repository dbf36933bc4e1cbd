"""Looks through a data set: what a run would train on, and what in it deserves a second look."""

import dataclasses
import math
from pathlib import Path

import numpy as np

from thaw import tracking
from thaw.cache import Store
from thaw.common.console import say, show
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
from thaw.explore.label_errors import Labels
from thaw.explore.neighbors import Pair
from thaw.explore.scanned_images import Pictures
from thaw.tools.cache import size

MANY = 0.25  # near duplicates, as a share of all images, from which they say more of the data than of single files


def explore(config: ExploreConfig) -> None:
    """Write explore.html, findings.csv, images.csv and groups.csv, and print the short of it.

    Raises UserError as the other commands do. Bad files are findings and stop nothing.
    """
    backbone_features.check(config)
    weighed = tracking.with_weights_of_run(config.backbone, config.tracking_uri, Path(config.outputs))
    config = dataclasses.replace(config, backbone=weighed)
    folder = Path(config.output).expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    store = Store(Path(config.cache.dir).expanduser().absolute(), config.cache.max_gb * 1e9, beside=folder)
    seen = scanned_images.read(config, store)
    say(_data_line(config, seen))
    distinct = _first_of_each_content(seen)
    looked = image_stats.look(seen.pixels)
    pooled = backbone_features.pooled(config, seen.pixels, seen.pixels.indices, store)
    near = neighbors.find(pooled, distinct)
    pairs = neighbors.near_duplicates(near, looked, config.similarity)
    odd = neighbors.oddness(near)
    judged = label_errors.judge(pooled, seen.labels, len(seen.class_names), config.folds, config.seed)
    found = [
        *findings.bad_files(seen),
        *findings.exact_duplicates(seen),
        *findings.near_duplicates(seen, pairs),
        *findings.mislabelled(seen, judged),
        *findings.odd_ones(seen, near.rows, odd),
        *findings.by_looks(seen, looked),
    ]
    said = _remarks(config, seen, judged, pairs)
    _write(folder / "explore.html", html_page.html(seen, looked, found, _title(config), said, config.thumbnails))
    _write(folder / "findings.csv", csv_tables.findings_csv(found))
    _write(folder / "images.csv", csv_tables.images_csv(seen, looked, judged, near, odd))
    if seen.pixels.catalog.paths is not None:
        _write(folder / "groups.csv", csv_tables.groups_csv(seen, pairs))
    _show(seen, found, said, folder)


def _first_of_each_content(seen: Pictures) -> np.ndarray:
    rows = np.sort(np.unique(np.array(seen.pixels.sha256), return_index=True)[1])
    if len(rows) < 2:
        raise UserError(f"all {len(seen)} pictures have the same content: there is nothing to compare")
    return rows


def _title(config: ExploreConfig) -> str:
    return config.dataset.path or config.dataset.name


def _remarks(config: ExploreConfig, seen: Pictures, judged: Labels, pairs: list[Pair]) -> list[str]:
    """What the figures rest on, for people who read them."""
    said = list(seen.remarks)
    if not math.isnan(judged.accuracy):
        said.append(
            f"A probe on the features of {config.backbone.name} ({config.folds} folds) gave {judged.accuracy:.1%} of "
            "the images their own label."
        )
    if len(pairs) > MANY * len(seen):
        said.append(
            f"{len(pairs):,} of {len(seen):,} images are near duplicates of others: either there is little else in "
            f"this data, or its pictures are all much alike; then ask for more than similarity={config.similarity:g}."
        )
    return said


def _data_line(config: ExploreConfig, seen: Pictures) -> str:
    counts = [f"{name} {seen.splits.count(name):,}" for name in html_page.split_names(seen)] or [
        f"{len(seen):,} images"
    ]
    bad = f" · {len(seen.bad)} files cannot be used" if seen.bad else ""
    return f"data: {config.dataset.name} · {len(seen.class_names)} classes · {' · '.join(counts)}{bad}"


def _write(file: Path, text: str) -> None:
    """In one step, so that a page is whole or the old one."""
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")
    fresh.replace(file)


def _show(seen: Pictures, found: list[Finding], said: list[str], folder: Path) -> None:
    show(csv_tables.class_table(seen, found))
    for remark in said:
        say(remark)
    if found:
        show(csv_tables.finding_table(found))
    else:
        say("nothing was found that deserves a second look")
    page_file = folder / "explore.html"
    say(f"page {_shown(page_file)} · {size(page_file.stat().st_size)}")
    say(f"all findings {_shown(folder / 'findings.csv')} · all images {_shown(folder / 'images.csv')}")
    if any(finding.kind == "near_duplicate" for finding in found) and seen.pixels.catalog.paths is not None:
        table = command_lines.setting("dataset.path", str(_shown(folder / "groups.csv")))
        say(f"near duplicates on one side: {command_lines.script('train')} dataset=csv {table}")


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path

"""Command `reproduce`: report what changed since a run, rerun it, and compare the outcomes."""

import dataclasses
import json
import tempfile
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path

from thaw import run_fingerprint, tracking
from thaw.cache import DiskCache
from thaw.cli.argument_quoting import quote
from thaw.common import environment
from thaw.common.console import display_path, printable, say
from thaw.common.errors import UserError
from thaw.config import stored_config
from thaw.config.job import Job
from thaw.config.schema import Config
from thaw.config.tool_schemas import ReproduceConfig
from thaw.data import manifest, prepare
from thaw.models import backbone_table
from thaw.reproduce import manifest_check, original_run, verdict_report
from thaw.reproduce.comparison import compare
from thaw.reproduce.manifest_check import FileDifference
from thaw.reproduce.original_run import OriginalRun
from thaw.results.final_predictions import PARITY_IMAGES_TAG
from thaw.run import run
from thaw.training import recipes
from thaw.training.stage_end import stage_epochs

REPRODUCES_TAG = "thaw.reproduces"  # of the rerun: the id of the original run
VERDICT_TAG = "thaw.verdict"
SHOWN_FILES = 20  # printed differences of the data; the file has all
DIFFERENCES_FILE = "data_differences.csv"


def reproduce(config: ReproduceConfig, root: Path | None) -> int:
    """Rerun `config.run` and return the exit code: 0 identical, 2 same within tolerance, 3 different.

    `root` is the checkout; None for an installed package.

    Raises:
        UserError: The run is not found or cannot be rerun.
    """
    if not config.run:
        raise UserError("run= is missing: the id of a run, its first six characters or more, or a run's folder")
    original = original_run.read_original(config.run, config.tracking_uri, Path(config.outputs))
    original_outcome = original_run.read_outcome(original.run)
    folder = Path(config.outputs) / "reproduced" / f"{datetime.now():%Y-%m-%d/%H-%M-%S-%f}"
    folder.mkdir(parents=True)
    epochs = verdict_report.count_noun(len(original_outcome.epochs), "epoch")
    say(f"reproducing run {original.run.id} · {original.run.name} · {epochs}")
    verdict_report.print_unfinished(original)
    environment.compute_as_recorded(original.fingerprint)
    changes = tracking.fingerprint_differences(original.fingerprint, tracking.collect_fingerprint(root).entries())
    verdict_report.print_environment(changes, original.config.deterministic)
    cache: AbstractContextManager[str] = nullcontext(original.config.cache.dir)
    if config.fresh:  # an empty one, removed afterwards
        cache = tempfile.TemporaryDirectory(prefix=".cache-", dir=folder)
    with cache as cache_dir:
        rerun_config = _rerun_config(original, config, cache_dir)
        files = _compare_data(original, rerun_config, folder)
        rerun_id = _rerun(original, rerun_config, _job(original, rerun_config, root, folder))
    rerun = tracking.find_run(original.store_uri, Path(config.outputs), rerun_id)
    comparison = compare(original_outcome, original_run.read_outcome(rerun), config.tolerance)
    verdict_report.print_comparison(comparison)
    report = folder / verdict_report.REPORT_FILE
    verdict_report.write_reproduction_report(original, rerun.id, changes, files, comparison, report)
    for file in (report, folder / DIFFERENCES_FILE):
        if file.exists():
            rerun.log_artifact(file)
    rerun.set_tag(VERDICT_TAG, comparison.verdict)
    say(f"reproduction {display_path(report)}")
    return comparison.exit_code


def _rerun_config(original: OriginalRun, config: ReproduceConfig, cache_dir: str) -> Config:
    """Return the run's config with today's folders; metrics go to the run's store, and the network is not kept."""
    backbone = original.config.backbone
    return dataclasses.replace(
        original.config,
        # Without a size it is the backbone's own, whatever a new run would choose.
        backbone=dataclasses.replace(backbone, image_size=backbone_table.input_size(backbone)),
        outputs=config.outputs,
        cache=dataclasses.replace(original.config.cache, dir=cache_dir),
        tracking=dataclasses.replace(original.config.tracking, uri=original.store_uri, complete="none"),
    )


def _job(original: OriginalRun, rerun_config: Config, root: Path | None, folder: Path) -> Job:
    """Return the job, with overrides that give the same config when the rerun is stopped and resumed."""
    values = dict(stored_config.flatten(dataclasses.asdict(rerun_config)))
    # The run's overrides leave out what was chosen on its machine, and keys that are newer than the run.
    keys = ("engine", "precision", "frozen_precision", "backbone.image_size", *stored_config.LEGACY_DEFAULTS)
    overrides = [*original.overrides, *(f"{key}={values[key]}" for key in keys)]
    if rerun_config.dataset.path:
        overrides.append(f"dataset.path={quote(rerun_config.dataset.path)}")
    tags, rerun_tags = original.run.tags, {REPRODUCES_TAG: original.run.id}
    if images := original.run.metrics.get("parity/images"):  # on fewer or more of them, the verdict may differ
        rerun_tags[PARITY_IMAGES_TAG] = str(int(images))
    return Job(
        root,
        folder,
        overrides,
        tags=rerun_tags,
        name=f"reproduces {original.run.id[:8]}: {original.run.name}",
        cuts=run_fingerprint.stored_cuts(tags),
        chained_cuts=run_fingerprint.has_chained_cuts(tags),
        stage_epochs=stage_epochs(tags),
    )


def _rerun(original: OriginalRun, rerun_config: Config, job: Job) -> str:
    """Return the rerun's id; a rerun that fails with the run's error is a reproduction too."""
    try:
        return run(rerun_config, job).run_id
    except UserError as error:
        if original.finished or str(error) != original_run.failure_reason(original.run):
            raise
        say(f"it failed as the run did: {error}")
        return str(json.loads((job.folder / "run.json").read_text(encoding="utf-8"))["run_id"])


def _compare_data(original: OriginalRun, rerun_config: Config, folder: Path) -> list[FileDifference]:
    """Report what differs in the data, before files that became unusable end the rerun."""
    cache = DiskCache(Path(rerun_config.cache.dir), rerun_config.cache.max_gb * 1e9, outputs=Path(rerun_config.outputs))
    scanned, _ = prepare.scan_dataset(
        rerun_config.dataset,
        cache,
        backbone_table.input_size(rerun_config.backbone),
        pixels_every_epoch=recipes.runs_images_every_epoch(rerun_config),
    )
    splits = prepare.split_dataset(scanned, rerun_config.dataset, rerun_config.split, rerun_config.seed)
    rows = [dict(zip(manifest.COLUMNS, map(str, row), strict=True)) for row in manifest.manifest_rows(scanned, splits)]
    present_paths = {*scanned.catalog.names, *(bad.name for bad in scanned.bad_files)}
    differences = manifest_check.compare_manifests(original.manifest, rows, present_paths)
    if not differences:
        say(f"data: {len(rows):,} files as in the run")
        return differences
    file = folder / DIFFERENCES_FILE
    file.write_text(manifest_check.differences_csv(differences), encoding="utf-8", errors="surrogateescape", newline="")
    counts = ", ".join(f"{kind} {n:,}" for kind, n in manifest_check.count_by_kind(differences).items())
    say(f"data: {verdict_report.count_noun(len(differences), 'difference')}: {counts}")
    for difference in differences[:SHOWN_FILES]:
        say(f"  {printable(difference.line())}")
    if len(differences) > SHOWN_FILES:
        say(f"  and {len(differences) - SHOWN_FILES:,} more")
    say(f"  the list: {display_path(file)}")
    return differences

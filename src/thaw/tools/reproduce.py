"""Does a run again and says whether it came to the same: what differs beforehand, the rerun, the comparison."""

import dataclasses
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from thaw import run_record, tracking
from thaw.cache import DiskCache
from thaw.cli.arguments import quote
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
from thaw.run import run
from thaw.training import recipes

REPRODUCES_TAG = "thaw.reproduces"  # tag of the new run: the id of the one that it repeats
VERDICT_TAG = "thaw.verdict"
SHOWN_FILES = 20  # files that are printed; the rest is in the list
DIFFERENCES_FILE = "data_differences.csv"


def reproduce(config: ReproduceConfig, root: Path | None) -> int:
    """Rerun `config.run` and return the exit code: 0 identical, 2 same within tolerance, 3 different.

    root: the checkout, None of an installed package. Raises UserError for what keeps the run from being found or rerun.
    """
    if not config.run:
        raise UserError("run= is missing: the id of a run, the first characters of it, or a run's folder")
    before = original_run.read_original(config.run, config.tracking_uri, Path(config.outputs))
    folder = Path(config.outputs) / "reproduced" / f"{datetime.now():%Y-%m-%d/%H-%M-%S-%f}"
    folder.mkdir(parents=True)
    epochs = verdict_report.count_noun(len(original_run.read_outcome(before.run).epochs), "epoch")
    say(f"reproducing run {before.run.id} · {before.run.name} · {epochs}")
    verdict_report.print_unfinished(before)
    environment = tracking.fingerprint_differences(before.fingerprint, tracking.collect_fingerprint(root).entries())
    verdict_report.print_environment(environment, before.config.deterministic)
    with _cache(config.fresh, before.config, folder) as cache:
        today = _today(before, config, cache)
        files = _data(before, today, folder)
        run_id = _rerun(before, today, _job(before, today, root, folder))
    after = tracking.find_run(before.store_uri, Path(config.outputs), run_id)
    comparison = compare(original_run.read_outcome(before.run), original_run.read_outcome(after), config.tolerance)
    verdict_report.print_comparison(comparison)
    verdict_report.write_report(before, after.id, environment, files, comparison, folder / verdict_report.REPORT_FILE)
    for file in (folder / verdict_report.REPORT_FILE, folder / DIFFERENCES_FILE):
        if file.exists():
            after.log_artifact(file)
    after.set_tag(VERDICT_TAG, comparison.verdict)
    say(f"reproduction {display_path(folder / verdict_report.REPORT_FILE)}")
    return comparison.exit_code


@contextmanager
def _cache(fresh: bool, config: Config, folder: Path) -> Iterator[str]:
    """The cache's folder: the run's own, or an empty one that is removed afterwards."""
    if not fresh:
        yield config.cache.dir
        return
    with tempfile.TemporaryDirectory(prefix=".cache-", dir=folder) as empty:
        yield empty


def _today(before: OriginalRun, config: ReproduceConfig, cache: str) -> Config:
    """The run's config with today's places: its figures go to the store it is in, and the network is kept nowhere."""
    own = before.config
    return dataclasses.replace(
        own,
        outputs=config.outputs,
        cache=dataclasses.replace(own.cache, dir=cache),
        tracking=dataclasses.replace(own.tracking, uri=before.store_uri, complete="none"),
    )


def _job(before: OriginalRun, today: Config, root: Path | None, folder: Path) -> Job:
    """With the overrides that make the same config from another folder, should the rerun be stopped and resumed."""
    computed = [f"engine={today.engine}", f"precision={today.precision}", f"frozen_precision={today.frozen_precision}"]
    settings = dict(stored_config.flatten(dataclasses.asdict(today)))
    computed += [
        f"{key}={settings[key]}" for key in stored_config.LEGACY_DEFAULTS
    ]  # a run of an older version has no override
    if today.dataset.path:
        computed.append(f"dataset.path={quote(today.dataset.path)}")
    tags = {REPRODUCES_TAG: before.run.id}
    return Job(root, folder, [*before.overrides, *computed], tags=tags, cuts=run_record.stored_cuts(before.run.tags))


def _rerun(before: OriginalRun, today: Config, job: Job) -> str:
    """Return the new run's id; one that fails as the failed one did is a reproduction too."""
    try:
        return run(today, job).run_id
    except UserError as error:
        if before.finished or str(error) != original_run.failure_reason(before.run):
            raise
        say(f"it failed as the run did: {error}")
        return str(json.loads((job.folder / "run.json").read_text(encoding="utf-8"))["run_id"])


def _data(before: OriginalRun, today: Config, folder: Path) -> list[FileDifference]:
    """List what differs in the data; what can no longer be used or split ends the rerun after this."""
    store = DiskCache(Path(today.cache.dir), today.cache.max_gb * 1e9, outputs=Path(today.outputs))
    image_size, pixels_every_epoch = backbone_table.image_size(today.backbone), recipes.runs_images_every_epoch(today)
    found, _ = prepare.scan_dataset(today.dataset, store, image_size, pixels_every_epoch=pixels_every_epoch)
    splits = prepare.split_dataset(found, today.dataset, today.split, today.seed)
    rows = [dict(zip(manifest.COLUMNS, map(str, row), strict=True)) for row in manifest.rows(found, splits)]
    there = {*found.catalog.names, *(bad.name for bad in found.bad_files)}
    differences = manifest_check.compare_manifests(before.manifest, rows, there)
    if not differences:
        say(f"data: {len(rows):,} files as in the run")
        return differences
    file = folder / DIFFERENCES_FILE
    file.write_text(manifest_check.differences_csv(differences), encoding="utf-8", errors="surrogateescape", newline="")
    counts = ", ".join(f"{kind} {n:,}" for kind, n in manifest_check.count_by_kind(differences).items())
    say(f"data: {verdict_report.count_noun(len(differences), 'difference')}: {counts}")
    for entry in differences[:SHOWN_FILES]:
        say(f"  {printable(entry.line())}")
    if len(differences) > SHOWN_FILES:
        say(f"  and {len(differences) - SHOWN_FILES:,} more")
    say(f"  the list: {display_path(file)}")
    return differences

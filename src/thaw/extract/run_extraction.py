"""Computes what a run would compute into the cache: decoded pixels, and activations at the cuts of its stages."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thaw.common.console import display_path, format_bytes, say
from thaw.common.parallel import ShardWorkers
from thaw.config.schema import Config
from thaw.data.dataset import Dataset
from thaw.extract.prepared_run import PreparedRun, prepare_run

if TYPE_CHECKING:  # TensorFlow is imported when the data has been read
    from thaw.models.network import Network
    from thaw.training.stage_plans import PlannedStage, StageInputs


@dataclass(frozen=True)
class Extracted:
    """What the cache holds now of the activations that a run caches.

    cuts: at which they are. rows: one an image and augmented view, at each cut. nbytes: of all rows.
    """

    cuts: int
    rows: int
    nbytes: int


def extract_run(config: Config, workers: ShardWorkers | None = None) -> Extracted:
    """Compute what a run of this config would, and leave it in the cache; what is there already is not computed.

    Whoever computes a row, it is the same bit for bit: see `frozen.shards`. No run is opened in the store.

    Args:
        config: of the run.
        workers: processes that decode images and compute activations; None: this one does.

    Raises:
        UserError: as the run would, and if workers cannot compute what the engine of the config computes.
    """
    started = time.perf_counter()
    prepared = prepare_run(config, workers)
    extracted = extract_stages(prepared)
    data, cache = prepared.data, prepared.cache
    data.pixels.check_unchanged()
    say(
        f"in the cache: activations of {extracted.cuts} cut{'s' * (extracted.cuts != 1)}, {extracted.rows:,} rows, "
        f"{format_bytes(extracted.nbytes)} · {time.perf_counter() - started:.0f} s · {display_path(cache.folder)}"
    )
    return extracted


def extract_stages(prepared: PreparedRun) -> Extracted:
    """Compute what each stage caches; no image may be unreadable, which raises UserError."""
    planned, network, data, inputs = prepared.planned, prepared.network, prepared.data, prepared.inputs
    data.pixels.decode_missing()
    done = [_extract_stage(planned, number, network, data, inputs) for number in range(len(planned))]
    by_cut = {stage.cut.index: extracted for stage, extracted in zip(planned, done, strict=True) if extracted.rows}
    return Extracted(
        len(by_cut), *(sum(getattr(each, name) for each in by_cut.values()) for name in ("rows", "nbytes"))
    )


def _extract_stage(
    planned: list[PlannedStage], number: int, network: Network, data: Dataset, inputs: StageInputs
) -> Extracted:
    """Compute what one stage caches, unless an earlier stage trains layers before its cut."""
    from thaw.models.network import cut_at
    from thaw.training.stage_batches import BatchSource

    stage = planned[number]
    if not stage.cut.index:
        return Extracted(0, 0, 0)
    say(f"stage {stage.stage.name}")
    if trained := [each.stage.name for each in planned[:number] if each.plan.boundary < stage.cut.index]:
        say(f"  stage {trained[0]} trains layers before its cut: its activations are new in every run")
        return Extracted(0, 0, 0)
    rows = BatchSource(stage, cut_at(network, stage.cut.index), network, data, inputs).rows()
    return Extracted(1, sum(map(len, rows)), sum(each.nbytes for each in rows))

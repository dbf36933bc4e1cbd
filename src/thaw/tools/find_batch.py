"""Command `find_batch`: memory and speed of growing batches of one stage, and the size that they suggest."""

import dataclasses
import json
import math
import shlex
import sys
from pathlib import Path

from thaw.advice.prepared_stage import prepared_stage
from thaw.common.console import display_path, say
from thaw.common.files import write_atomically
from thaw.config.command_lines import script_command
from thaw.config.tool_schemas import FindBatchConfig
from thaw.training import batch_choice
from thaw.training.batch_choice import BatchFigures

_REPLACED = ("stage", "output", "seconds", "train.batch_size")


def find_batch(config: FindBatchConfig) -> None:
    """Try growing batches, and print the command that trains with the suggested one; write the figures.

    Raises:
        UserError: as a run of these keys would; there is no such stage, it has no batches, or not even small ones fit.
    """
    prepared, stage = prepared_stage(config, config.stage)
    from thaw.advice.batch_trial import memory_limit, try_batches  # late: TensorFlow

    limit = memory_limit()
    room = "" if math.isinf(limit) else f", in {limit / 1e9:.1f} GB of memory"
    say(f"stage {stage.stage.name} · {stage.stage.optimizer.name} · batches{room}")

    def report(figures: list[BatchFigures], images: int) -> None:
        _report(config, stage.stage.name, figures, limit, images)

    try_batches(prepared, stage, limit, config.seconds, report)


def _report(config: FindBatchConfig, stage: str, figures: list[BatchFigures], limit: float, images: int) -> None:
    """Print which batches fit and which is suggested, and write the figures."""
    largest = batch_choice.largest(figures, limit, images)
    suggested = batch_choice.suggest(figures)
    tried = "" if largest == figures[-1].size else ", by the memory of those that were tried"
    say(f"largest batch that fits: {largest:,} images{tried}")
    say(f"smallest batch that trains at 90 % of the highest speed: {suggested:,} images")
    if suggested != config.train.batch_size:
        say(
            f"note: rate and finetune.steps suit batches of {config.train.batch_size:,}: other batches are fewer or "
            "more steps for the same images"
        )
    arguments = [a for a in sys.argv[1:] if a.partition("=")[0] not in _REPLACED]
    say(f"train: {script_command('train')} {shlex.join([*arguments, f'train.batch_size={suggested}'])}")
    file = Path(config.output).expanduser().absolute() / "find_batch.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "stage": stage,
        "memory_bytes": None if math.isinf(limit) else int(limit),
        "largest": largest,
        "suggested": suggested,
        "batches": [dataclasses.asdict(each) for each in figures],
    }
    write_atomically(file, (json.dumps(record, indent=2) + "\n").encode())
    say(f"figures {display_path(file)}")

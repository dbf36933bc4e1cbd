"""Command `find_rate`: a learning-rate range test of one stage, and the rate that it suggests."""

import dataclasses
import json
import shlex
import sys
from pathlib import Path

from thaw.advice.prepared_stage import prepared_stage
from thaw.advice.stage_rates import range_test_of
from thaw.common.console import display_path, say
from thaw.common.files import write_atomically
from thaw.config.command_lines import script_command
from thaw.config.key_conflicts import HEAD_OPTIMIZER_KEY, OPTIMIZER_KEY
from thaw.config.schema import Config
from thaw.config.tool_schemas import FindRateConfig
from thaw.training import rate_choice
from thaw.training.rate_choice import RangeTest

_OWN_KEYS = ("stage", "output")


def find_rate(config: FindRateConfig) -> None:
    """Test the rates of a stage, and print the command that trains with the suggested one; write figures and a picture.

    Raises:
        UserError: as a run of these keys would; there is no such stage, it has no rate, or the loss falls at none.
    """
    prepared, stage = prepared_stage(config, config.stage)
    test = range_test_of(prepared, stage)
    rate = rate_choice.suggest(test, stage.stage.name, stage.stage.optimizer.name)
    folder = Path(config.output).expanduser().absolute()
    _write(folder, stage.stage.name, test, rate)
    say(rate_choice.summary(test, stage.stage.optimizer.name, rate))
    _say_command(prepared.config, stage.stage.number, rate)
    say(f"picture {display_path(folder / 'find_rate.png')} · figures {display_path(folder / 'find_rate.json')}")


def _say_command(config: Config, number: int, rate: float) -> None:
    """Print the command of training with the rate; the key alone of a stage that no argument names."""
    key = _key(config, number)
    if key is None:
        say(f"suggestion: learning_rate: {rate:g} in entry {number + 1} of finetune.stages")
        return
    arguments = [a for a in sys.argv[1:] if a.partition("=")[0] not in (*_OWN_KEYS, key)]
    say(f"train: {script_command('train')} {shlex.join([*arguments, f'{key}={rate:g}'])}")


def _key(config: Config, number: int) -> str | None:
    """Return the key of a stage's rate; None of a stage of `finetune.stages`."""
    if config.recipe == "finetune" and config.finetune.stages:
        return None
    head = config.recipe == "finetune" and number == 0
    return f"{HEAD_OPTIMIZER_KEY if head else OPTIMIZER_KEY}.learning_rate"


def _write(folder: Path, stage: str, test: RangeTest, rate: float) -> None:
    from thaw.report.rate_chart import rate_png  # late: it imports Altair

    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "find_rate.png", rate_png(stage, test.rates, test.changes, test.trend, rate))
    record = {"stage": stage, "learning_rate": rate, "trend": test.trend, **dataclasses.asdict(test)}
    write_atomically(folder / "find_rate.json", (json.dumps(record, indent=2) + "\n").encode())

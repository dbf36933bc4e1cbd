"""Which keys vary in a sweep: those that name its runs."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException


def swept_keys(typed: Iterable[str]) -> set[str]:
    """Return the keys of a sweep's command line that have several values."""
    return {key for key, swept in _parsed(typed).items() if swept}


def keys_of_job(sweep_folder: Path, overrides: Iterable[str]) -> set[str]:
    """Return the keys that tell a job from the others of its sweep: the swept ones, and those that a sweeper adds.

    The job may run in another process than the sweep, which finds the command line in Hydra's multirun.yaml.
    """
    typed: list[str] = []
    with suppress(OSError, OmegaConfBaseException):
        typed = list(OmegaConf.select(OmegaConf.load(sweep_folder / "multirun.yaml"), "hydra.overrides.task") or [])
    fixed = {key for key, swept in _parsed(typed).items() if not swept}
    return set(_parsed(overrides)) - fixed


def _parsed(overrides: Iterable[str]) -> dict[str, bool]:
    """Return whether each key is swept."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return {str(override.package or override.key_or_group): override.is_sweep_override() for override in parsed}

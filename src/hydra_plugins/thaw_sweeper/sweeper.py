"""`hydra/sweeper=thaw`: hands a sweep to thaw. Hydra imports this file at each start, so it imports nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class ThawSweeperConf:
    """The node `hydra.sweeper`. params: more `key=values`, as of Hydra's own sweeper."""

    _target_: str = "hydra_plugins.thaw_sweeper.sweeper.ThawSweeper"
    params: dict[str, Any] = field(default_factory=dict)


class ThawSweeper(Sweeper):
    """Hydra's interface to `thaw.cli.sweep_command`."""

    def __init__(self, params: Mapping[str, Any] | None = None) -> None:
        self._params = dict(params or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what `sweep` needs."""
        self._context, self._task, self._config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> None:
        """Run the sweep of a command line's `key=value`."""
        from thaw.cli import sweep_command

        sweep_command.run_sweep(self._context, self._task, self._config, self._params, arguments)


ConfigStore.instance().store(group="hydra/sweeper", name="thaw", node=ThawSweeperConf, provider="thaw")

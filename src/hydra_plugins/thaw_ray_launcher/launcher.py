"""`hydra/launcher=ray`: starts a sweep's workers on a Ray cluster. Hydra imports this file at each start.

hydra-ray-launcher needs a cloudpickle before 3, which MLflow's own dependencies have left behind, and starts jobs; this
one starts workers, which take jobs from the study until none is left, so that a killed node loses nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class RayLauncherConf:
    """The node `hydra.launcher`.

    address: of the cluster, HOST:PORT or auto; null starts Ray on this machine. cpus, gpus: that Ray keeps for one
    worker; a worker of one core computes on one core.
    """

    _target_: str = "hydra_plugins.thaw_ray_launcher.launcher.RayLauncher"
    address: str | None = None
    cpus: float = 1
    gpus: float = 0


class RayLauncher(Launcher):
    """Hydra's interface to `thaw.sweeps.ray_launch`."""

    def __init__(self, address: str | None, cpus: float, gpus: float) -> None:
        self._address, self._cpus, self._gpus = address, cpus, gpus

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives; the workers find all they need in the study."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Start one worker for each entry, which says which study it joins, and wait for their end."""
        from thaw.sweeps import ray_launch

        return ray_launch.launch(job_overrides, self._address, self._cpus, self._gpus)


ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayLauncherConf, provider="thaw")

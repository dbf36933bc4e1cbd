"""Command `extract`: compute ahead of runs what they would compute into the cache."""

import re
from contextlib import nullcontext

from thaw.config import checks
from thaw.config.tool_schemas import ExtractConfig
from thaw.extract.ray_workers import ray_workers
from thaw.extract.run_extraction import extract_run
from thaw.frozen.configured_engine import check_supported


def extract(config: ExtractConfig) -> None:
    """Fill the cache with what a run of these keys needs, here or on a Ray cluster.

    Raises:
        UserError: as the run would, of keys that contradict each other, and of a cluster that cannot be used.
    """
    checks.check_config(config, new_run=True)
    checks.raise_problems(_problems(config))
    check_supported(config)
    with nullcontext() if config.on == "here" else ray_workers(config) as workers:
        extract_run(config, workers)


def _problems(config: ExtractConfig) -> list[str]:
    problems = []
    if config.resume is not None:
        problems.append(f"resume={config.resume} is for training: what is computed stays, so start extraction again")
    if config.recipe == "auto":
        problems.append("recipe=auto chooses what is frozen as it trains: name another recipe, or train with it")
    if not config.cache.max_gb:
        problems.append("cache.max_gb=0 keeps nothing, so there is nothing to compute ahead of a run")
    if config.workers != "auto" and not re.fullmatch("[1-9][0-9]*", config.workers):
        problems.append(f"workers={config.workers} is neither a number of processes nor auto")
    if config.on == "here":
        asked = {"workers": config.workers != "auto", "threads": config.threads is not None}
        asked["ray.address"] = config.ray.address is not None
        for key in (key for key, given in asked.items() if given):
            problems.append(f"{key} is for on=ray, and this is on=here: set on=ray, or leave {key} out")
    elif config.engine == "tensorflow":
        problems.append(
            "on=ray computes with OpenVINO, and engine=tensorflow's results depend on the number of threads: set "
            "engine=openvino for extraction and training, or on=here"
        )
    return problems

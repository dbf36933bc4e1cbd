"""The command line: Hydra's `key=value` for training and for every tool, with errors that name the nearest match."""

import faulthandler
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from thaw.cli import command_line, instantiation_guard, streams, sweep_checks
from thaw.cli.argument_quoting import SEARCH_PATH_KEY, check_no_empty_arguments, empty_value_error, quote_texts
from thaw.cli.chosen_recipe import with_chosen_recipe
from thaw.cli.compose import (
    compose_tool_config,
    initialized_hydra,
    job_config,
    register_schema,
    resolve_hydra_values,
    to_config,
)
from thaw.cli.error_handling import exit_with_one_error, explain_hydra_error
from thaw.cli.help import help_text
from thaw.cli.resume import ResumedRun, prepare_resume
from thaw.cli.sweep_callback import RunRefused, SweepCallback, check_job_folder
from thaw.cli.sweep_parent import read_parent_id
from thaw.cli.swept_keys import keys_of_job
from thaw.common import console, tensorflow_setup
from thaw.common.console import say
from thaw.common.errors import UserError
from thaw.config import checks, command_lines, database_urls, install_paths, key_conflicts, run_names
from thaw.config.job import Job, Terminated
from thaw.config.schema import Config
from thaw.config.yaml_text import keep_yaml_texts

if TYPE_CHECKING:
    from thaw.results.result import RunResult


@streams.exit_quietly_on_broken_pipe
def train_command() -> None:
    """Train as the command line says: compose, check, run; a sweep (`-m`) does so once a job."""
    streams.open_closed_streams(errors_on_output=True)
    with exit_with_one_error(Config):
        _prepare()
        given = command_line.parse_command_line(sys.argv[1:])
        given = replace(given, arguments=quote_texts(database_urls.move_password(given.arguments), Config))
        if not given.flags or given.flags[0] != "--shell-completion":
            check_no_empty_arguments(given.arguments)
        sys.argv = [sys.argv[0], *given.to_argv()]
    ConfigStore.instance().store(name="schema", node=Config)
    if given.flags == ["--help"]:
        _print_help(Config, "train", "config")
        return

    errors: list[UserError] = []
    resumed: ResumedRun | None = None

    def job(cfg: DictConfig) -> float | None:
        os.chdir(HydraConfig.get().runtime.cwd)  # relative paths are the command line's, whatever hydra.job.chdir says
        sweep = HydraConfig.get().mode == RunMode.MULTIRUN
        try:
            hydra_config = HydraConfig.get()
            if OmegaConf.select(cfg, "sweep.join") is not None:
                _join(cfg, Path(hydra_config.runtime.output_dir))
                return None
            parent = read_parent_id(hydra_config.sweep.dir) if sweep else None
            folder = Path(hydra_config.runtime.output_dir).absolute()
            return _start(_checked(cfg, hydra_config, folder, resumed, parent)).objective.value
        except (UserError, OmegaConfBaseException) as error:
            if sweep:  # Hydra runs the other jobs, names this one's overrides, and raises at the end
                raise
            # Kept from Hydra, which would print a line of its own.
            errors.append(error if isinstance(error, UserError) else UserError(explain_hydra_error(error, Config)))
            return None

    with exit_with_one_error(Config):
        if given.is_sweep:
            sweep_checks.check_sweep(given.arguments)
        else:
            sweep_checks.check_single_run(given.arguments)
        resumed = prepare_resume(sys.argv[1:])
        SweepCallback.resumed_run_id = resumed.run_id if resumed else None
        SweepCallback.task = staticmethod(job)
        if resumed:
            sys.argv[1:] = resumed.arguments
        try:
            with instantiation_guard.forbid_instantiation(sys.argv[1:]):
                conf = str(install_paths.conf_dir())
                hydra.main(version_base="1.3", config_path=conf, config_name="config")(job)()
        except RunRefused as refused:
            raise refused.error from None
        except BaseException as error:
            SweepCallback.close_open_sweep(error)
            raise
        errors += SweepCallback.errors
        if errors:
            raise errors[0]


def _join(cfg: DictConfig, folder: Path) -> None:
    from thaw.cli import sweep_command  # late, as the run

    config: Config = to_config(cfg, Config)
    checks.check_config(config)
    sweep_command.join_study(config, folder)


def train_once(arguments: list[str]) -> "RunResult":
    """Train one run in this process and return its result: what `train` does of a command line without flags.

    Args:
        arguments: `key=value`, quoted for Hydra's grammar.

    Raises:
        UserError, HydraException, OmegaConfBaseException: of a mistake in the arguments; UserError: of the run.
    """
    check_no_empty_arguments(arguments)
    resumed = prepare_resume(arguments)
    arguments = resumed.arguments if resumed else arguments
    ConfigStore.instance().store(name="schema", node=Config)
    with instantiation_guard.forbid_instantiation(arguments), initialized_hydra():
        composed = hydra.compose("config", arguments, return_hydra_config=True)
        folder = Path(composed.hydra.run.dir).absolute()
        with job_config(composed) as cfg:
            config, job = _checked(cfg, composed.hydra, folder, resumed, None)
    check_job_folder(folder, job.resumed_run_id)
    folder.mkdir(parents=True, exist_ok=True)
    return _start((config, job))


def _checked(
    cfg: DictConfig, hydra_config: Any, folder: Path, resumed: ResumedRun | None, parent: str | None
) -> tuple[Config, Job]:
    """Return a run's config, which is checked, and how it was started; print the keys that have no effect."""
    config: Config = to_config(cfg, Config)
    checks.check_config(config, new_run=not resumed)
    if not resumed:
        for line in key_conflicts.no_effect_notes(config, hydra_config.overrides.task):
            say(line)
    search_path = [o for o in hydra_config.overrides.hydra if o.startswith(f"{SEARCH_PATH_KEY}=")]
    overrides = [*search_path, *resolve_hydra_values(hydra_config.overrides.task, cfg)]
    if resumed:
        typed = resumed.typed(overrides)
        return config, Job(install_paths.checkout_root(), folder, typed, resumed.parent_run_id, resumed.run_id)
    tags = SweepCallback.job_tags if parent else {}
    swept = keys_of_job(Path(hydra_config.sweep.dir), overrides) if parent else ()
    name = run_names.run_name(config, overrides, swept)
    return config, Job(install_paths.checkout_root(), folder, overrides, parent, tags=tags, name=name)


def _start(checked: tuple[Config, Job]) -> "RunResult":
    from thaw.run import run  # late: `--help` and a misspelt key answer without it

    config, job = checked
    if config.recipe == "auto" and job.parent_run_id is None:
        config, job = with_chosen_recipe(config, job)
    return run(config, job)


@streams.exit_quietly_on_broken_pipe
def run_tool(name: str, schema: type, task: Callable[[Any], None]) -> None:
    """Run a tool's `task` on its schema, composed from conf/ and the command line."""
    streams.open_closed_streams()
    console.progress_to_stderr()
    with exit_with_one_error(schema, name):
        _prepare()
        help_asked = bool({"-h", "--help"} & set(sys.argv[1:]))
        arguments = [] if help_asked else command_line.parse_tool_arguments(sys.argv[1:], name)
        arguments = command_line.with_several_networks(arguments, schema)
        arguments = quote_texts(arguments, schema, sweeps=False)
    if help_asked:
        _print_help(schema, name, register_schema(name, schema))
        return
    with exit_with_one_error(schema, name):
        task(compose_tool_config(name, schema, arguments))


def _print_help(schema: type, command: str, config_name: str) -> None:
    with initialized_hydra():
        defaults: Any = OmegaConf.to_container(hydra.compose(config_name), resolve=False)
    program = command_lines.script_command(command)
    streams.write_stdout(help_text(install_paths.conf_dir(), schema, program, defaults) + "\n")


def _prepare() -> None:
    outputs = os.environ.get("THAW_OUTPUTS", str(install_paths.default_outputs()))
    if not outputs.strip():
        raise empty_value_error("THAW_OUTPUTS")
    os.environ["THAW_OUTPUTS"] = str(Path(outputs).absolute())
    tensorflow_setup.import_keras_without_extras()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let exceptions reach exit_with_one_error
    signal.signal(signal.SIGTERM, _terminate)
    with suppress(ValueError, OSError, AttributeError):  # a standard error that is closed or no file
        faulthandler.enable()  # a crash in a library's C++ code leaves the Python stack
    keep_yaml_texts()


def _terminate(number: int, frame: object) -> None:
    raise Terminated(128 + number)

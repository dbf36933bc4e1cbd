"""The command line: Hydra's `key=value` for train.py and every script, with errors that name the nearest match."""

import errno
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from thaw.cli import hydra_flags, policy, remedies, streams, sweep_checks
from thaw.cli.arguments import SEARCH_PATH_KEY, check_no_empty_arguments, empty_value_error, quote_texts
from thaw.cli.compose import first_job_config, resolve_hydra_values, to_config
from thaw.cli.help import help_text
from thaw.cli.resume import ResumedRun, prepare_resume
from thaw.common import console
from thaw.common.console import display_path, escape_controls, say
from thaw.common.errors import UserError, did_you_mean, joined
from thaw.config import checks, command_lines, effects
from thaw.config.job import Job, Terminated
from thaw.config.schema import Config
from thaw.config.schema_keys import dotted_keys, section_types
from thaw.config.yaml_text import keep_yaml_texts

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn

    from thaw.tracking import FoldSummary


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@streams.exit_quietly_on_broken_pipe
def train(root: Path) -> None:
    """Run train.py: compose, check, train; a sweep (`-m`) does so once a job."""
    streams.open_closed_streams(errors_on_output=True)
    with exit_with_one_error(root, Config):
        _prepare(root)
        given = hydra_flags.parse_command_line(sys.argv[1:])
        given = replace(given, arguments=quote_texts(given.arguments, Config))
        if not given.flags or given.flags[0] != "--shell-completion":
            check_no_empty_arguments(given.arguments)
        sys.argv = [sys.argv[0], *given.to_argv()]
    ConfigStore.instance().store(name="schema", node=Config)
    if given.flags == ["--help"]:
        _help(root / "conf", Config, "python train.py", "config")
        return

    mistakes: list[UserError] = []
    gone_on: ResumedRun | None = None

    def job(cfg: DictConfig) -> float | None:
        own = HydraConfig.get()
        os.chdir(own.runtime.cwd)  # whatever hydra.job.chdir says: relative paths are those of the command line
        sweep = own.mode == RunMode.MULTIRUN
        try:
            config = to_config(cfg, Config)
            checks.check_config(config)
            if not gone_on:  # a run that has begun goes on as it began
                effects.check_contradictions(config)
                for line in effects.no_effect_notes(config, own.overrides.task):
                    say(line)
            parent = SweepParent.read_parent_id(own.sweep.dir) if sweep else None
            choices = [o for o in own.overrides.hydra if o.startswith(f"{SEARCH_PATH_KEY}=")]
            where = Job(
                root,
                Path(own.runtime.output_dir).absolute(),
                [*choices, *resolve_hydra_values(own.overrides.task, cfg)],
                parent,
            )
            if gone_on:
                where = replace(where, parent_run_id=gone_on.parent_run_id, resumed_run_id=gone_on.run_id)
            from thaw.run import run  # late: `--help` and a misspelt key answer without it

            return run(config, where).objective.value
        except (UserError, OmegaConfBaseException) as error:
            if sweep:  # Hydra goes on with the other jobs, names this one's overrides, and raises at the end
                raise
            clear = (
                error if isinstance(error, UserError) else UserError(explain_hydra_error(error, root / "conf", Config))
            )
            mistakes.append(clear)  # past Hydra, which would print a line of its own
            return None

    with exit_with_one_error(root, Config):
        if given.is_sweep:
            check_sweep(root / "conf", given.arguments)
        gone_on = prepare_resume(root / "conf", sys.argv[1:])
        SweepParent.resumed_run_id = gone_on.run_id if gone_on else None
        if gone_on:
            sys.argv[1:] = gone_on.arguments
        try:
            with policy.forbid_instantiation(sys.argv[1:]):
                hydra.main(version_base="1.3", config_path=str(root / "conf"), config_name="config")(job)()
        except RunRefused as refused:
            raise refused.error from None
        except BaseException as error:
            SweepParent.close_open_sweep(error)
            raise
        mistakes += SweepParent.errors
        if mistakes:
            raise mistakes[0]


@streams.exit_quietly_on_broken_pipe
def run_tool(root: Path, name: str, schema: type, task: Callable[[Any], None]) -> None:
    """Run a script's `task` on its own schema, composed from conf/ and the command line."""
    streams.open_closed_streams()
    console.progress_to_stderr()
    with exit_with_one_error(root, schema):
        _prepare(root)
        arguments = quote_texts(sys.argv[1:], schema, sweeps=False)
    ConfigStore.instance().store(name=name, node=schema)
    if {"-h", "--help"} & set(arguments):
        _help(root / "conf", schema, f"python scripts/{name}.py", name)
        return
    with exit_with_one_error(root, schema):
        for argument in arguments:
            if argument.startswith("-"):
                raise UserError(
                    f"{argument} is not understood: every argument is key=value. "
                    f"{command_lines.script_command(name)} --help"
                )
            hydra_flags.check_argument(argument)
        check_no_empty_arguments(arguments)
        with hydra.initialize_config_dir(str(root / "conf"), version_base="1.3"):
            config = to_config(hydra.compose(name, arguments), schema)
        checks.check_values(config, "")
        task(config)


def _help(conf: Path, schema: type, program: str, name: str) -> None:
    with hydra.initialize_config_dir(str(conf), version_base="1.3"):
        defaults = OmegaConf.to_container(hydra.compose(name), resolve=False)
    assert isinstance(defaults, dict)
    streams.write_stdout(help_text(conf, schema, program, {str(key): value for key, value in defaults.items()}) + "\n")


def check_sweep(conf: Path, arguments: list[str]) -> None:
    """Compose every value of a sweep once, with the other keys at their first, before anything heavy is imported.

    A key or choice that does not exist is found in a second; Hydra would find it after the sweep's run was opened.
    """
    jobs = []
    with hydra.initialize_config_dir(str(conf), version_base="1.3"):
        texts = [_values(argument, arguments) for argument in arguments]
        sweep_checks.check_job_dirs(texts)
        first = [own[0] for own in texts]
        for place, own in enumerate(texts):
            for text in own if len(own) > 1 or place == 0 else []:
                overrides = [*first[:place], text, *first[place + 1 :]]
                jobs.append(_job_of_sweep(overrides))
                checks.check_values(jobs[-1], "")
        parent = _job_of_sweep([argument for argument in arguments if not _parsed(argument).is_sweep_override()])
    sweep_checks.check_sweep_jobs(parent, jobs)


def _job_of_sweep(overrides: list[str]) -> Config:
    with first_job_config(hydra.compose("config", overrides, return_hydra_config=True)) as cfg:
        config = to_config(cfg, Config)
    assert isinstance(config, Config)
    return config


def _parsed(argument: str) -> Any:
    (parsed,) = OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides([argument])
    return parsed


def _values(argument: str, arguments: list[str]) -> list[str]:
    """An argument for each value that the grid runs through; a sampler's interval as its ends."""
    parsed = _parsed(argument)
    key, value = argument.partition("=")[0], parsed._value
    if isinstance(value, IntervalSweep):
        if not any(other.startswith("hydra/sweeper=") for other in arguments):
            raise UserError(
                f"{argument} has no steps for a grid to run through: list values, {key}={value.start},{value.end}, or "
                "install a sweeper that draws from it, such as hydra-optuna-sweeper"
            )
        return [f"{key}={value.start}", f"{key}={value.end}"]
    found = [f"{key}={each}" for each in parsed.sweep_string_iterator()] if parsed.is_sweep_override() else [argument]
    if not found:
        raise UserError(f"{argument}: there is no such value to run through")
    return found


def _prepare(root: Path) -> None:
    outputs = os.environ.get("THAW_OUTPUTS", str(root / "outputs"))
    if not outputs.strip():
        raise empty_value_error("THAW_OUTPUTS")
    os.environ["THAW_OUTPUTS"] = str(Path(outputs).absolute())
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let exceptions reach exit_with_one_error
    signal.signal(signal.SIGTERM, _terminate)
    keep_yaml_texts()


def _terminate(number: int, frame: object) -> None:
    raise Terminated(128 + number)


@contextmanager
def exit_with_one_error(root: Path, schema: type) -> Iterator[None]:
    """Print a user's mistake as one message and exit with 1 (130 after Ctrl-C); a defect keeps its traceback."""
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {escape_controls(str(error))}")
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {escape_controls(explain_hydra_error(error, root / 'conf', schema))}")
    except OSError as error:
        if error.errno in _NO_ROOM:  # libraries often do not say where
            where = error.filename or f"under outputs={os.environ['THAW_OUTPUTS']}, or where cache.dir or output lie"
            sys.exit(f"error: {where}: {os.strerror(error.errno).lower()}. Make room, then start again")
        if error.filename is None:
            raise
        sys.exit(f"error: {error.filename}: {(error.strerror or str(error)).lower()}")
    except KeyboardInterrupt:
        ignore_signals()
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Terminated:
        ignore_signals()
        raise


def ignore_signals() -> None:
    """The process is ending: another Ctrl-C would only break its last lines and leave a traceback."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def explain_hydra_error(error: Exception, conf: Path, schema: type) -> str:
    """Say in one sentence what Hydra found wrong: the key, what is allowed, the nearest match."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        options = sorted(error.options or [])
        if group in ("hydra/launcher", "hydra/sweeper"):
            kind = group.removeprefix("hydra/")
            return f"{group}={choice} is not installed: a {kind} is a plugin of Hydra, such as hydra-{choice}-{kind}"
        return f"{group}={choice} is not a choice.{did_you_mean(choice, options)} Choose one of: {joined(options)}"
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override} cannot be read: {str(error).splitlines()[-1]}. Quote special characters: key='a value'"
        )
    cause = remedies.omegaconf_cause(error)
    key = getattr(cause, "full_key", None)
    text = str(error).strip() or str(cause)
    experiment = re.match(r"In '(experiment/[^']*)'", text)
    if experiment and ("Key 'experiment' not in" in text or "@experiment." in text):
        return (
            f"{experiment[1]}.yaml lacks its first line: # @package _global_. Without it its keys are no keys of a run"
        )
    if found := re.match(r"Ambiguous value for argument '(.*)'", text):
        key, _, value = found[1].partition("=")
        return (
            f"{found[1]} is several values: -m trains with each. A text that has a comma is quoted: \"{key}='{value}'\""
        )
    found = re.search(r"Could not (?:override|append to|delete)[^']*'([^']+)'", text)
    if found and found[1] not in set(dotted_keys(schema)):
        return _unknown_key(found[1], conf, schema)
    message = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
    if remedy := remedies.explain_with_remedy(message, key, sys.argv[1:]):
        return remedy
    if blank := re.search(r"Value '\s*' ", message):
        return str(empty_value_error(found[1] if found else key or blank[0]))
    if section := re.match(r"Merge error: \w+ is not a subclass of (\w+)\. value: (.*)", message):
        own = [name for name, type_ in section_types(schema) if type_.__name__ == section[1]]
        return f"{' or '.join(own)}={section[2]!r} is a text where a section is expected: set its keys"
    if found:
        return f"{found[1]}: {message}"
    missing = re.match(r"Key '([^']+)' (?:is )?not in", message)
    if missing and key not in set(dotted_keys(schema)):
        return _unknown_key(key or missing[1], conf, schema)
    return f"{key}: {message}" if key else message


def _unknown_key(key: str, conf: Path, schema: type) -> str:
    name = key.split("@")[0]
    known = [*dotted_keys(schema), *(folder.name for folder in conf.iterdir() if folder.is_dir())]
    section = name.rpartition(".")[0]
    siblings = [k for k in known if k.rpartition(".")[0] == section] if section else []
    near = did_you_mean(name, known)
    there = f" Keys of {section}: {joined(k.rpartition('.')[2] for k in siblings)}." if siblings else ""
    return f"{key} is not a key.{near}{there} See them all with --help"


class RunRefused(BaseException):
    """A run or a sweep that must not begin. No `Exception`: of those in a callback Hydra makes a warning."""

    def __init__(self, mistake: UserError) -> None:
        super().__init__(mistake)
        self.error = mistake


class SweepParent:
    """Hydra's callback that opens one parent run for a sweep; children find its id in the sweep's folder.

    It refuses folders that hold another run's files, before Hydra writes into them. resumes: the run that may go on
    in its own. mistakes: those of the sweep's end, which Hydra would turn into warnings.
    """

    PARENT_ID_FILE = "parent_run_id"
    resumed_run_id: str | None = None
    errors: ClassVar[list[UserError]] = []
    _open: "SweepParent | None" = None

    def __init__(self) -> None:
        self._failed = 0

    @classmethod
    def read_parent_id(cls, folder: str) -> str | None:
        """The parent's id, for a job of the sweep in `folder`."""
        file = Path(folder) / cls.PARENT_ID_FILE
        return file.read_text().strip() if file.is_file() else None

    @classmethod
    def close_open_sweep(cls, error: BaseException) -> None:
        """End the parent of a sweep that was broken off."""
        if cls._open is not None:
            reason = str(error) or type(error).__name__
            cls._open._close("FAILED" if isinstance(error, Exception) else "KILLED", reason)

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        from thaw.tracking import folder_owner

        folder = Path(config.hydra.run.dir).absolute()
        with _refusing():
            folder_owner.check_not_running(folder)
            folder_owner.check_run_folder(folder, run_id=self.resumed_run_id)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        from thaw import tracking

        with _refusing():
            with first_job_config(config) as own:
                checked = to_config(own, Config)
            self._folder = Path(config.hydra.sweep.dir).absolute()
            typed: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
            name = " ".join(typed) or "sweep"
            self._sweep = tracking.open_sweep(checked.tracking, Path(checked.outputs), name, self._folder)
        (self._folder / self.PARENT_ID_FILE).write_text(self._sweep.id)
        SweepParent._open = self

    def on_job_end(self, config: DictConfig, job_return: "JobReturn", **_: Any) -> None:
        if job_return.status.name != "COMPLETED":
            self._failed += 1
            sweep_checks.drop_traceback_frames(job_return._return_value)
        job_return.cfg = job_return.hydra_cfg = None  # Hydra keeps what a job returned until the sweep ends

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        if SweepParent._open is self:
            reason = f"{self._failed} of its jobs failed" if self._failed else ""
            try:
                self._close("FAILED" if self._failed else "FINISHED", reason)
            except UserError as mistake:
                self.errors.append(mistake)

    def _close(self, status: Literal["FINISHED", "FAILED", "KILLED"], reason: str) -> None:
        from thaw import tracking

        SweepParent._open = None
        children = tracking.close_sweep(self._sweep, status=status, summary={"reason": reason} if reason else None)
        if children and children[0].objective is not None:
            best = children[0]
            say(f"sweep {self._sweep.id} · {len(children)} runs · best {best.objective:.4f}: {best.overrides}")
        if settings := tracking.fold_summaries(children):
            self._tell_folds(settings)

    def _tell_folds(self, settings: "list[FoldSummary]") -> None:
        from thaw import tracking

        for setting in settings:
            say(setting.line())
        file = self._folder / "folds.json"
        file.write_text(tracking.folds_json(settings), encoding="utf-8")
        say(f"folds {display_path(file)}")

    # Hydra calls every event of every callback.
    def on_run_end(self, config: DictConfig, **_: Any) -> None: ...

    def on_job_start(self, config: DictConfig, **_: Any) -> None: ...

    def on_compose_config(self, config: DictConfig, **_: Any) -> None: ...


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except UserError as mistake:
        raise RunRefused(mistake) from mistake

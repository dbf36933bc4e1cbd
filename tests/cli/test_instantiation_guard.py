"""Configs that would run something, as train.py meets them."""

import pickle
import re
import sys
import time
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from thaw.cli import instantiation_guard, main
from thaw.cli.resume import ResumedRun
from thaw.common.errors import UserError

from .composing import composed, with_file


def test_thaws_own_config_passes_in_milliseconds() -> None:
    config = composed()
    started = time.perf_counter()
    instantiation_guard.check_composed(config)
    assert time.perf_counter() - started < 0.1


@pytest.mark.parametrize("logging", ["default", "stdout", "disabled"])
def test_hydras_own_logging_passes(logging: str) -> None:
    instantiation_guard.check_composed(
        composed(f"hydra/job_logging={logging}", f"hydra/hydra_logging={logging}".replace("stdout", "none"))
    )


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("callbacks.x", {"_target_": "os.makedirs"}, "callbacks.x._target_=os.makedirs"),
        ("callbacks.x", {"a": [{"_target_": "os.makedirs"}]}, "callbacks.x.a[0]._target_=os.makedirs"),
        ("callbacks.sweep._target_", "os.makedirs", "callbacks.sweep._target_=os.makedirs"),
        ("sweeper._target_", "os.makedirs", "sweeper._target_=os.makedirs"),
        ("launcher.x", {"_target_": "os.makedirs"}, "launcher.x._target_=os.makedirs"),
        ("launcher._target_", "${augment.name}", "launcher._target_=${augment.name}"),
        ("callbacks.x", "${hydra.help}", "callbacks.x=${hydra.help}"),
        ("callbacks.x", "${oc.decode:'{a: b}'}", "callbacks.x=${oc.decode:"),
        ("callbacks", "${hydra:help}", "callbacks=${hydra:help}"),
        ("job_logging.handlers", {"x": {"class": "subprocess.Popen"}}, "job_logging.handlers.x.class=subprocess.Popen"),
        ("hydra_logging.filters", {"x": {"()": "os.makedirs"}}, "hydra_logging.filters.x.()=os.makedirs"),
        ("job.env_set", {"LD_PRELOAD": "x.so"}, "job.env_set.LD_PRELOAD"),
    ],
)
def test_whatever_hydra_would_call_is_refused(place: str, value: object, named: str) -> None:
    config = composed()
    OmegaConf.update(config, f"hydra.{place}", value, force_add=True)
    with pytest.raises(UserError) as caught:
        instantiation_guard.check_composed(config)
    assert f"hydra.{named}" in str(caught.value)


def log_file(**keys: object) -> dict[str, object]:
    """Hydra's own file handler, with other keys."""
    own = {"class": "logging.FileHandler", "filename": "${hydra.runtime.output_dir}/${hydra.job.name}.log"}
    return {"handlers": {"file": {**own, **keys}}}


def to_terminal(**keys: object) -> dict[str, object]:
    return {"handlers": {"console": {"class": "logging.StreamHandler", **keys}}}


HOSTILE = {
    "callbacks.sweep": [
        {"argument": 1},
        {"_partial_": True},
        {"_args_": ["x"]},
        {"_recursive_": False},
        {"_convert_": "all"},
    ],
    "launcher": [{"_args_": ["x"]}, {"_partial_": True}],
    "sweeper": [{"max_batch_size": 0}, {"max_batch_size": "x"}, {"_partial_": True}],
    "job_logging": [
        log_file(filename="/home/me/thesis.tex"),
        log_file(filename="notes.log"),
        log_file(filename="~/.bashrc"),
        log_file(filename="${hydra.runtime.output_dir}/../../thesis.log"),
        log_file(filename="${hydra.runtime.output_dir}/..log/x.log"),
        log_file(filename="${hydra.runtime.output_dir}/.log"),
        log_file(filename="${hydra.runtime.output_dir}/result.json"),
        log_file(filename="${hydra.runtime.output_dir}/a${oc.env:HOME}.log"),
        log_file(filename="${hydra.runtime.output_dir}${augment.name}"),
        log_file(filename="${hydra.runtime.cwd}/x.log"),
        log_file(filename="${outputs}/x.log"),
        log_file(filename=None),
        log_file(mode="w"),
        log_file(mode="w+"),
        log_file(mode="x"),
        log_file(mode="${augment.name}"),
        log_file(encoding="idna"),
        log_file(delay="ext://antigravity"),
        log_file(errors="x"),
        log_file(**{".": {"baseFilename": "/home/me/thesis.tex"}}),
        log_file(filters=["ext://os.environ"]),
        log_file(level="ext://os.environ"),
        log_file(**{"class": "logging.handlers.RotatingFileHandler"}),
        log_file(**{"class": "${augment.name}"}),
        log_file(**{"()": "logging.FileHandler"}),
        to_terminal(stream="ext://os.environ"),
        to_terminal(stream="ext://antigravity"),
        to_terminal(stream="cfg://root"),
        to_terminal(stream="${augment.name}"),
        to_terminal(terminator="x"),
        to_terminal(formatter="cfg://formatters.x"),
        to_terminal(formatter="absent"),
        {"formatters": {"simple": {"style": "{"}}},
        {"formatters": {"simple": {"style": "$"}}},
        {"formatters": {"simple": {"validate": False}}},
        {"formatters": {"simple": {"defaults": {"a": "ext://os.environ"}}}},
        {"formatters": {"simple": {"format": "ext://os.environ"}}},
        {"formatters": {"simple": {"format": "e${augment.name}"}}},
        {"formatters": {"simple": {"format": ["x"]}}},
        {"formatters": {"simple": {"datefmt": "cfg://root"}}},
        {"formatters": {"simple": {"()": "colorlog.ColoredFormatter", "stream": "ext://os.environ"}}},
        {"formatters": {"simple": {"()": "colorlog.ColoredFormatter", "log_colors": {"INFO": "ext://os.environ"}}}},
        {"formatters": {"simple": {"()": "colorlog.ColoredFormatter", "log_colors": "ext://os.environ"}}},
        {"formatters": "x"},
        {"handlers": {"console": "x"}},
        {"root": {"handlers": ["ext://os.environ"]}},
        {"root": {"filters": ["x"]}},
        {"root": {"level": "LOUD"}},
        {"loggers": {"x": {"handlers": ["absent"]}}},
        {"loggers": {"x": {"filters": ["x"]}}},
        {"filters": {"x": {"name": "y"}}},
        {"incremental": True},
        {"version": 2},
    ],
    "hydra_logging": [log_file(), to_terminal(stream="ext://os.environ")],
}


@pytest.mark.parametrize(
    ("place", "hostile"), [(place, one) for place, them in HOSTILE.items() for one in them], ids=str
)
def test_no_argument_of_what_is_called_does_harm(place: str, hostile: dict[str, object]) -> None:
    config = composed("hydra/job_logging=default", "hydra/hydra_logging=default")
    instantiation_guard.check_composed(config)
    with pytest.raises((UserError, OmegaConfBaseException)) as caught:  # noqa: PT012
        OmegaConf.update(config, f"hydra.{place}", hostile, force_add=True)  # Hydra's own sweeper takes no other keys
        instantiation_guard.check_composed(config)
    assert f"hydra.{place}." in str(caught.value)


def test_every_admitted_class_is_tried_with_hostile_arguments() -> None:
    assert set(instantiation_guard.THAW_TARGETS) | {"job_logging", "hydra_logging"} == set(HOSTILE)
    assert all(f"'{name}'" in str(HOSTILE) for name in instantiation_guard.LOGGING_CLASSES)


def test_an_own_class_passes_in_its_own_place_only() -> None:
    for place, (target, _) in instantiation_guard.THAW_TARGETS.items():
        for other in {*instantiation_guard.THAW_TARGETS, "callbacks.x"} - {place}:
            config = composed()
            OmegaConf.update(config, f"hydra.{other}", {"_target_": target}, force_add=True)
            with pytest.raises(UserError, match=re.escape(f"hydra.{other}._target_={target} is refused")):
                instantiation_guard.check_composed(config)


def test_the_callback_of_earlier_versions_is_taken_for_todays(tmp_path: Path) -> None:
    own = instantiation_guard.THAW_TARGETS["callbacks.sweep"][0]
    for former in ("thaw.config.cli.SweepParent", "thaw.cli.main.SweepParent"):
        with instantiation_guard.forbid_instantiation([]):
            config = with_file(tmp_path, f"hydra: {{callbacks: {{sweep: {{_target_: {former}}}}}}}")
        assert config.hydra.callbacks.sweep._target_ == own


@pytest.mark.parametrize("name", ["/x/y", "..", "a/../../b", "${hydra.job.num}/..", "${now:%Y}"])
def test_a_logs_name_is_no_way_out_of_the_runs_folder(name: str) -> None:
    config = composed("hydra/job_logging=default")
    config.hydra.job.name = name
    with pytest.raises(UserError, match=r"hydra\.job_logging\.handlers\.file\.filename=.* lies in the run's folder"):
        instantiation_guard.check_composed(config)


def test_the_colours_of_hydra_colorlog_pass() -> None:
    config = composed("hydra/job_logging=default")
    colours = {
        "()": "colorlog.ColoredFormatter",
        "format": "[%(asctime)s] %(log_color)s",
        "log_colors": {"INFO": "red"},
    }
    OmegaConf.update(config, "hydra.job_logging.formatters", {"colorlog": colours}, force_add=True)
    OmegaConf.update(config, "hydra.job_logging.handlers.console.formatter", "colorlog")
    instantiation_guard.check_composed(config)


@pytest.fixture
def a_plugin():
    """A sweeper as an installed plugin registers it."""
    store = ConfigStore.instance()
    node = {"_target_": "their.Sweeper", "n": 3, "setup": "true", "sampler": {"_target_": "their.Sampler"}}
    store.store(group="hydra/sweeper", name="theirs", node=node, provider="them")
    yield
    del store.repo["hydra"]["sweeper"]["theirs.yaml"]


def test_a_plugins_own_targets_pass_wherever_it_was_installed(a_plugin) -> None:
    instantiation_guard.check_composed(
        composed("hydra/sweeper=theirs", "hydra.sweeper.n=5", "+hydra.sweeper.params={seed: '1,2'}")
    )
    config = composed("hydra/sweeper=theirs", "+hydra.sweeper.other={_target_: not.Theirs}")
    with pytest.raises(UserError, match=r"hydra\.sweeper\.other\._target_=not\.Theirs is refused"):
        instantiation_guard.check_composed(config)


@pytest.mark.parametrize("value", [{"setup": "rm -r ~"}, {"setup": ["rm -r ~"]}, {"sampler": {"setup": "rm -r ~"}}])
def test_what_a_plugin_may_run_comes_from_the_command_line_only(a_plugin, value: dict[str, object]) -> None:
    config = composed("hydra/sweeper=theirs")
    OmegaConf.update(config, "hydra.sweeper", value, force_add=True)
    with pytest.raises(UserError, match=r"hydra\.sweeper\..*setup=.* is refused from a file"):
        instantiation_guard.check_composed(config)
    instantiation_guard.check_composed(config, ["hydra.sweeper.setup=x", "+hydra.sweeper.sampler.setup=x"])


@pytest.mark.parametrize(
    "argument",
    [
        "+hydra.callbacks.x._target_=os.makedirs",
        "+x={_target_: os.makedirs}",
        "--experimental-rerun=job.pickle",
        "--exp",
    ],
)
def test_an_argument_is_refused_by_name(argument: str) -> None:
    with pytest.raises(UserError, match="refused") as caught:
        instantiation_guard.check_arguments(["seed=1", argument])
    assert str(caught.value).startswith(argument)


def test_ordinary_arguments_pass() -> None:
    instantiation_guard.check_arguments(
        ["-m", "dataset.path='/my/_target_/photos'", "hydra/launcher=joblib", "-", "--", "a"]
    )


@pytest.mark.parametrize("where", ["experiment", "callbacks", "sweep"])
def test_a_strangers_file_runs_nothing_and_is_named(commands, tmp_path, where: str) -> None:
    made, folder = tmp_path / "made", tmp_path / "theirs"
    evil = f"{{_target_: os.makedirs, name: '{made}'}}"  # a callable that Hydra itself does not refuse
    name, *given = {
        "experiment": ("experiment/x.yaml", f"--config-dir={folder}"),
        "callbacks": ("hydra/callbacks/x.yaml", f"--config-dir={folder}"),
        "sweep": ("experiment/x.yaml", "-m", f"hydra.searchpath=[{folder}]", "seed=1,2"),
    }[where]
    file = folder / name
    file.parent.mkdir(parents=True)
    file.write_text(f"# @package _global_\nhydra: {{callbacks: {{x: {evil}}}}}\n")
    ran = commands.run(*given, f"{file.parent.relative_to(folder)}=x")
    assert ran.code == 1, ran.out
    assert ran.err.startswith(f"error: {file}: hydra."), ran.err
    assert "=os.makedirs is refused" in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not made.exists()


@pytest.mark.parametrize(
    ("group", "text"),
    [
        ("experiment", "# @package _global_\nhydra: {callbacks: {x: {_target_: os.makedirs}}}"),
        ("hydra/callbacks", "x: {_target_: os.makedirs}"),
    ],
)
def test_the_file_that_is_named_is_one_of_this_composition(tmp_path: Path, group: str, text: str) -> None:
    folder = tmp_path / "theirs" / group
    folder.mkdir(parents=True)
    for name in ("a1", "a7", "a9"):
        (folder / f"{name}.yaml").write_text(text)
    config = composed(f"hydra.searchpath=[file://{tmp_path}/theirs]", f"{group}=a7")
    with pytest.raises(UserError) as caught:
        instantiation_guard.check_composed(config)
    assert str(caught.value).startswith(f"{folder}/a7.yaml: hydra.callbacks.x._target_=os.makedirs is refused")


def test_no_file_is_named_for_what_the_command_line_says(tmp_path: Path) -> None:
    config = with_file(tmp_path, "seed: 1", "hydra/job_logging=default", "++hydra.job_logging.handlers.file.mode=w")
    (tmp_path / "theirs" / "experiment" / "a.yaml").write_text("hydra: {job_logging: {handlers: {file: {mode: w}}}}")
    with pytest.raises(UserError, match=r"^hydra\.job_logging\.handlers\.file\.mode=w is refused: lines are appended"):
        instantiation_guard.check_composed(config)


def test_a_handler_without_a_class_is_told_so(tmp_path: Path) -> None:
    log = "{version: 1, root: null, handlers: {mine: {filename: '${hydra.runtime.output_dir}/x.log'}}}"
    config = with_file(tmp_path, f"defaults: [override /hydra/job_logging: none]\nhydra: {{job_logging: {log}}}")
    missing = "hydra.job_logging.handlers.mine.class=None is refused: it is missing; it can be logging.StreamHandler or"
    with pytest.raises(UserError, match=re.escape(f"{tmp_path}/theirs/experiment/x.yaml: {missing}")):
        instantiation_guard.check_composed(config)


@pytest.mark.parametrize("sweep", [False, True])
def test_a_strangers_file_writes_over_no_file_of_the_users(commands, tmp_path, sweep: bool) -> None:
    thesis, file = tmp_path / "thesis.tex", tmp_path / "theirs" / "experiment" / "x.yaml"
    thesis.write_text("years of work")
    file.parent.mkdir(parents=True)
    log = "{class: logging.FileHandler, filename: '" + str(thesis) + "'}"
    file.write_text(
        "# @package _global_\ndefaults: [override /hydra/job_logging: default]\n"
        f"hydra: {{job_logging: {{handlers: {{file: {log}}}}}}}\n"
    )
    ran = commands.run(*(("-m", "seed=1,2") if sweep else ()), f"--config-dir={tmp_path}/theirs", "experiment=x")
    assert (ran.code, thesis.read_text()) == (1, "years of work")
    assert ran.err.startswith(
        f"error: {file}: hydra.job_logging.handlers.file.filename={thesis} is refused: a log lies"
    )
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize("argument", ["+hydra.callbacks.x._target_=os.makedirs", "--experimental-rerun=job.pickle"])
def test_an_argument_is_refused_before_hydra_sees_it(commands, argument: str) -> None:
    ran = commands.run("seed=1", argument)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"error: {argument}: refused")


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_the_stored_command_of_a_strangers_run_is_held_to_the_same_rule(monkeypatch, tmp_path) -> None:
    ran, file = tmp_path / "ran", tmp_path / "job.pickle"
    file.write_bytes(pickle.dumps(Touch(ran)))
    monkeypatch.setattr(
        main, "prepare_resume", lambda *_: ResumedRun("0123abcd", None, [f"--experimental-rerun={file}"])
    )
    monkeypatch.setattr(main, "_prepare", lambda: None)
    monkeypatch.setattr(sys, "argv", ["train.py", "resume=0123abcd"])
    with pytest.raises(SystemExit, match="refused, because the file is a pickle"):
        main.train_command()
    assert not ran.exists()

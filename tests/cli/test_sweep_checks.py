"""What a sweep cannot vary is refused before its first job; what a failed job held is freed."""

import traceback
import weakref

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus

from thaw.cli import sweep_checks
from thaw.cli.compose import initialized_hydra
from thaw.cli.sweep_callback import SweepCallback
from thaw.cli.sweep_checks import check_sweep
from thaw.common.errors import UserError
from thaw.config.schema import Config


@pytest.fixture(autouse=True)
def _home(monkeypatch) -> None:
    monkeypatch.setenv("THAW_OUTPUTS", "/tmp/home")
    ConfigStore.instance().store(name="schema", node=Config)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("deterministic=true,false",), "deterministic=true, then deterministic=false"),
        (("seed=range(3)", "deterministic=choice(false,true)"), "deterministic=false, then deterministic=true"),
        (("tracking.experiment=a,b",), "Give one for all of it, tracking.experiment=b"),
        (("outputs=/tmp/a,/tmp/b",), "a sweep cannot vary outputs (/tmp/home, /tmp/a, /tmp/b)"),
        (("tracking.uri=sqlite:///a.db,sqlite:///b.db",), "a sweep cannot vary tracking.uri"),
        (("seed=1,2", "hydra.sweep.subdir=same"), "hydra.sweep.subdir=same: all 2 jobs would have this folder"),
        (
            ("recipe=bottleneck", "bottleneck.epochs=1,2", "optimizer.warmup_epochs=1"),
            "optimizer.warmup_epochs=1 and bottleneck.epochs=1",
        ),
    ],
)
def test_what_cannot_be_swept_is_refused_before_the_first_job(arguments, said) -> None:
    with pytest.raises(UserError) as caught:
        check_sweep(list(arguments))
    assert said in str(caught.value)


@pytest.fixture
def choices(tmp_path) -> str:
    """Two experiments of the user's own; returns the argument that finds them."""
    (tmp_path / "experiment").mkdir()
    for name, deterministic in (("slow", "true"), ("fast", "false")):
        text = f"# @package _global_\ndeterministic: {deterministic}\ntracking:\n  experiment: mine\n"
        (tmp_path / "experiment" / f"{name}.yaml").write_text(text)
    return f"hydra.searchpath=['file://{tmp_path}']"


def test_nor_can_it_be_by_a_choice_that_sets_it(choices) -> None:
    with pytest.raises(UserError, match="cannot vary deterministic"):
        check_sweep(["experiment=slow,fast", choices])
    with pytest.raises(UserError, match=r"tracking\.experiment \(thaw, mine\).*tracking\.experiment=mine"):
        check_sweep(["experiment=slow,fast", choices, "deterministic=true"])
    check_sweep(["experiment=slow,fast", choices, "deterministic=true", "tracking.experiment=mine"])


def test_everything_else_can_be_swept(choices) -> None:
    check_sweep(
        ["seed=range(3)", "precision=float32,bfloat16", "engine=openvino,tensorflow", "cache.dir=/tmp/a,/tmp/b"]
    )
    check_sweep(["deterministic=false", "seed=1,2"])


class Network:
    """Takes part in a failing job."""


def job(held: list, kind: type[Exception]) -> None:
    network = Network()
    held.append(weakref.ref(network))

    def train() -> None:
        """Closes over the network, as comprehensions do in Python 3.11."""
        try:
            raise OSError("the disk is full")
        except OSError as error:
            raise kind(f"no room for {type(network).__name__}") from error

    train()


def failed(held: list, kind: type[Exception]) -> JobReturn:
    ended = JobReturn(status=JobStatus.FAILED)
    try:
        job(held, kind)
    except kind as error:
        ended.return_value = error
    return ended


@pytest.mark.parametrize("kind", [UserError, RuntimeError])
def test_a_failed_jobs_error_holds_nothing_that_the_job_had(kind) -> None:
    held: list = []
    ended = failed(held, kind)
    assert held[0]() is not None
    SweepCallback().on_job_end(config=None, job_return=ended)
    assert held[0]() is None


def test_a_defect_is_still_printed_with_the_lines_that_it_came_from() -> None:
    ended = failed([], RuntimeError)
    SweepCallback().on_job_end(config=None, job_return=ended)
    printed = "".join(traceback.format_exception(ended._return_value))
    assert "RuntimeError: no room for Network" in printed
    assert "the disk is full" in printed
    assert 'raise OSError("the disk is full")' in printed
    assert "job(held, kind)" in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ["seed=${hydra:job.num}", "augment=light,strong"],
        ["backbone=glob(vgg*)"],
        ["seed=range(0,3)"],
        ["optimizer.learning_rate=choice(1e-4,1e-3)"],
        ["optimizer.learning_rate=1e-4,1e-3", "++seed=1"],
        ["hydra/sweeper=any", "optimizer.learning_rate=interval(1e-5,1e-3)"],
    ],
)
def test_sweeps_as_hydra_writes_them_pass_the_check(arguments: list[str]) -> None:
    ConfigStore.instance().store(name="schema", node=Config)
    ConfigStore.instance().store(group="hydra/sweeper", name="any", node={"_target_": "their.Sweeper"})
    try:
        check_sweep(arguments)
    finally:
        del ConfigStore.instance().repo["hydra"]["sweeper"]["any.yaml"]


@pytest.mark.parametrize(
    "swept",
    [
        ["seed=1", "seed=2"],
        ["optimizer.learning_rate=1e-4", "optimizer.learning_rate=0.1"],
        ["finetune.freeze=all", "finetune.freeze=0.5", "finetune.freeze=block5c"],
        ["backbone.freeze=20", "backbone.freeze=all"],  # which finetune.freeze follows
        ["dataset.path='a b'", "dataset.path=null"],
        ["train.class_weight=none", "train.class_weight=balanced"],
    ],
    ids=lambda swept: swept[0].partition("=")[0],
)
def test_a_value_that_is_put_in_gives_the_config_that_composing_gives(swept: list[str]) -> None:
    with initialized_hydra():
        quick = sweep_checks._configs_of_values(["dataset=digits"], swept, ["head=linear"])
        composed = [sweep_checks._job_config(["dataset=digits", argument, "head=linear"]) for argument in swept]
    assert quick == composed
    assert len(set(map(str, quick))) == len(swept)

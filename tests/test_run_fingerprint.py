"""What a run leaves in the store when it begins, and what it must find there when it is resumed."""

import dataclasses
from pathlib import Path

import pytest

from thaw import run_fingerprint, tracking
from thaw.common.errors import UserError
from thaw.config.job import Job
from thaw.config.schema import Config
from thaw.frozen.engine import EngineChoice


class Tracked:
    """A run that remembers what was logged."""

    id, name = "0123456789abcdef", "photos-vgg16-finetune"

    def __init__(self, tags: dict[str, str] | None = None) -> None:
        self.resumed_tags, self.logged, self.texts = tags or {}, {}, {}

    def log_params(self, params) -> None:
        self.logged |= params

    def set_tags(self, tags) -> None:
        self.logged |= tags

    def flush(self) -> None: ...

    def command_line(self, script: str, key: str) -> str:
        return f"python scripts/{script}.py {key}={self.id}"

    def log_text(self, text: str, name: str) -> None:
        self.texts[name] = text


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path, tmp_path, ["seed=3"])


def begin(tracked: Tracked, job: Job, error: BaseException | None = None) -> None:
    with run_fingerprint.resumable_run(tracked, Config(seed=3), job, lambda: False):
        if error:
            raise error


def test_config_command_and_fingerprint_are_there_before_the_work(job: Job) -> None:
    tracked = Tracked()
    begin(tracked, job)
    assert (tracked.logged["seed"], tracked.logged["fingerprint.seed"]) == (3, "3")
    assert tracked.texts["overrides.txt"] == "seed=3\n"
    assert "seed: 3" in tracked.texts["config.yaml"]


def test_a_run_says_from_its_beginning_that_it_computes_activations_from_later_stages_cuts(job: Job) -> None:
    """A run without the entry began in an earlier version: resumed or reproduced, it computes all from the images."""
    new, early = Tracked(), Tracked()
    begin(new, job)
    assert new.logged["fingerprint.chain"] == "nearest"
    assert run_fingerprint.has_chained_cuts(new.logged)
    begin(early, dataclasses.replace(job, chained_cuts=False))
    assert not run_fingerprint.has_chained_cuts(early.logged)


def test_a_run_that_goes_on_keeps_its_first_fingerprint_and_names_what_changed(job: Job, capsys) -> None:
    began = Tracked()
    begin(began, job)
    tags = {key: str(value) for key, value in began.logged.items() if key.startswith("fingerprint.")}
    again = Tracked({**tags, "fingerprint.package.keras": "0.1", "fingerprint.data_sha256": "d" * 64})
    begin(again, dataclasses.replace(job, resumed_run_id=again.id))
    now = tracking.collect_fingerprint(job.root).packages["keras"]
    assert f"package.keras: 0.1 in the run, {now} now" in capsys.readouterr().out
    assert again.logged == {"thaw.resumed_with": f"package.keras: 0.1 in the run, {now} now"}
    assert again.texts == {}


@pytest.mark.parametrize(
    ("error", "printed"), [(KeyboardInterrupt(), True), (SystemExit(143), True), (UserError("no such backbone"), False)]
)
def test_the_command_that_goes_on_is_printed_when_there_is_something_to_go_on_with(
    job: Job, capsys, error: BaseException, printed: bool
) -> None:
    with pytest.raises(type(error)):
        begin(Tracked(), job, error)
    assert (f"resume: python train.py resume={Tracked.id}" in capsys.readouterr().out) == printed


def test_what_it_began_with_must_still_be_there() -> None:
    tracked = Tracked({"fingerprint.data_sha256": "a" * 64})
    assert run_fingerprint.has_entry(tracked, run_fingerprint.DATA_SHA256)
    assert not run_fingerprint.has_entry(Tracked(), run_fingerprint.DATA_SHA256)
    run_fingerprint.check_same_hash(tracked, "data_sha256", "a" * 64, "the data")
    run_fingerprint.check_same_hash(Tracked(), "data_sha256", "b" * 64, "the data")
    with pytest.raises(UserError, match=r"the data changed since it began .sha256 aaaaaaaaaaaa then, bbbbbbbbbbbb now"):
        run_fingerprint.check_same_hash(tracked, "data_sha256", "b" * 64, "the data")


@pytest.mark.parametrize("change", [{}, {"trained": "bfloat16"}, {"device": "gpu"}, {"version": "1"}])
def test_a_run_has_the_engine_that_would_be_chosen_or_another(change: dict) -> None:
    choice = EngineChoice("openvino", "2026.4.1", "float32", "float32")
    tags = {**run_fingerprint.engine_tags(choice), f"fingerprint.{run_fingerprint.DEVICE}": "cpu", "other": "tag"}
    assert run_fingerprint.has_engine(tags, dataclasses.replace(choice, **change)) is (not change)


def test_what_was_chosen_for_auto_is_chosen_again() -> None:
    tags = {"thaw.engine": "openvino 2026.4.1", "thaw.precision": "float32", "thaw.frozen_precision": "bfloat16"}
    chosen = run_fingerprint.with_stored_engine(Config(), tags)
    assert (chosen.engine, chosen.precision, chosen.frozen_precision) == ("openvino", "float32", "bfloat16")
    assert chosen.training_step == "keras", "runs of earlier versions computed layer by layer"
    folded = run_fingerprint.with_stored_engine(Config(), {**tags, "thaw.training_step": "folded"})
    assert folded.training_step == "folded"
    assert run_fingerprint.with_stored_engine(Config(), {}) == Config()


def test_a_run_that_goes_on_where_another_device_computes_is_told(capsys) -> None:
    for began, message in (("gpu", "began on the gpu and continues on the cpu"), ("cpu", ""), (None, "")):
        tags = {} if began is None else {f"fingerprint.{run_fingerprint.DEVICE}": began}
        run_fingerprint.report_device_change(Tracked(tags), "cpu")
        out = capsys.readouterr().out
        assert message in out
        assert bool(out) == bool(message)


def test_a_run_that_goes_on_on_another_number_of_devices_is_told(capsys) -> None:
    for began, message in (("2", "began on 2 devices and continues on 4"), ("4", ""), (None, "")):
        tags = {"fingerprint.device": "gpu"} | ({} if began is None else {"fingerprint.devices": began})
        run_fingerprint.report_device_change(Tracked(tags), "gpu", 4)
        out = capsys.readouterr().out
        assert message in out
        assert bool(out) == bool(message)

"""`resume=`: which run is meant, and that it continues as it began or not at all. Real stores, no TensorFlow."""

import os
from pathlib import Path

import hydra
import pytest
from hydra.core.config_store import ConfigStore

from thaw import tracking
from thaw.cli import command_line
from thaw.cli.compose import to_config
from thaw.cli.resume import prepare_resume
from thaw.common.errors import UserError
from thaw.config.schema import Config, TrackingConfig
from thaw.config.stored_config import config_yaml

CONF = Path(__file__).parents[2] / "conf"
BEGAN = ["dataset=digits", "seed=3", "dataset.path=null"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("resume") / "out puts"


@pytest.fixture
def begun(tmp_path: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes a run that was killed after it had begun; returns its id and folder."""
    ConfigStore.instance().store(name="schema", node=Config)
    monkeypatch.setenv("THAW_OUTPUTS", str(outputs))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()

    runs: list[Path] = []

    def begin(
        *,
        killed: bool = True,
        parent: str | None = None,
        command: list[str] = BEGAN,
        stored: bool = True,
        without: str = "no line",
        tags: dict[str, str] | None = None,
        image_size: int | None = None,
    ) -> tuple[str, Path]:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            config = to_config(hydra.compose("config", command), Config)
        config.backbone.image_size = image_size
        folder = tmp_path / "runs" / ("it's the first" if not runs else f"number {len(runs)}")
        runs.append(folder)
        try:
            with tracking.start_run(
                config.tracking, Path(config.outputs), name="run", folder=folder, parent=parent
            ) as run:
                lines = [line for line in config_yaml(config).splitlines() if line.strip() != without]
                run.log_text("\n".join(lines), "config.yaml")
                run.log_text("\n".join(command) + "\n", "overrides.txt")
                run.set_tags({**({tracking.CONFIG_LOGGED_TAG: "3.11"} if stored else {}), **(tags or {})})
                if killed:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
        return run.id, folder

    return begin


def tracking_config() -> TrackingConfig:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return to_config(hydra.compose("config", BEGAN), Config).tracking


def test_the_id_or_its_beginning_or_the_folder_is_enough(begun, tmp_path: Path, monkeypatch) -> None:
    run_id, folder = begun()
    for wanted in (run_id, run_id[:8], str(folder)):
        monkeypatch.chdir(tmp_path / "elsewhere")
        found = prepare_resume([f"resume={wanted}"])
        assert found is not None
        assert (found.run_id, found.parent_run_id) == (run_id, None)
        assert found.arguments == [*BEGAN, "hydra.run.dir='" + str(folder).replace("'", "\\'") + "'"]
        assert Path.cwd() == tmp_path, "relative paths are meant from where it began"


def test_without_resume_nothing_is_looked_up(tmp_path: Path) -> None:
    assert prepare_resume(["dataset=digits"]) is None
    assert prepare_resume(["resume=null"]) is None


def test_a_sweeps_job_keeps_its_parent(begun) -> None:
    parent = "0123456789abcdef" * 2
    child, _ = begun(parent=parent)
    found = prepare_resume([f"resume={child}"])
    assert found is not None
    assert found.parent_run_id == parent


def test_what_was_given_before_may_be_given_again_and_places_may_change(begun) -> None:
    run_id, _ = begun()
    found = prepare_resume(["seed=3", f"resume={run_id}", "dataset=digits", "cache.dir=other", "cache.max_gb=0"])
    assert found is not None
    assert sorted(a.partition("=")[0] for a in found.arguments) == [
        "cache.dir", "cache.max_gb", "dataset", "dataset.path", "hydra.run.dir", "seed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("optimizer.learning_rate=0.5", "optimizer.learning_rate: 0.0006 in the run, 0.5 now"),
        ("seed=4", "seed: 3 in the run, 4 now"),
        ("head=linear", "head.name: logistic in the run, linear now"),
    ],
)
def test_a_changed_config_is_refused_with_the_difference(begun, argument: str, said: str) -> None:
    run_id, _ = begun()
    with pytest.raises(UserError, match="cannot be resumed with another config") as refused:
        prepare_resume([f"resume={run_id}", argument])
    assert said in str(refused.value)


def test_another_budget_is_refused_where_the_cuts_of_the_run_are_not_known(begun) -> None:
    """A run of an earlier version: another budget may choose other cuts, and those round differently."""
    run_id, _ = begun(tags={"fingerprint.weights_sha256": "0" * 64})
    with pytest.raises(UserError, match=r"cache.max_gb: 20.0 in the run, 0.0 now"):
        prepare_resume([f"resume={run_id}", "cache.max_gb=0"])
    assert prepare_resume([f"resume={run_id}"]) is not None


def test_a_run_from_before_there_were_versions_of_the_split_goes_on_by_its_own(begun) -> None:
    run_id, _ = begun(without="version: 2")
    found = prepare_resume([f"resume={run_id}"])
    assert found is not None
    assert found.arguments[:-1] == [*BEGAN, "split.version=1"]
    with pytest.raises(UserError, match=r"split.version: 1 in the run, 2 now"):
        prepare_resume([f"resume={run_id}", "split.version=2"])


def test_a_run_from_before_there_was_a_choice_of_val_loss_goes_on_with_its_own(begun) -> None:
    run_id, _ = begun(without="val_loss: cross_entropy")
    found = prepare_resume([f"resume={run_id}"])
    assert found is not None
    assert found.arguments[:-1] == [*BEGAN, "train.val_loss='objective'"]


def test_a_run_goes_on_as_it_began_where_conf_or_a_newer_version_has_other_values(
    begun, tmp_path: Path, monkeypatch, capsys
) -> None:
    import shutil

    run_id, _ = begun()
    conf = tmp_path / "conf"
    shutil.copytree(CONF, conf)
    for name, old, new in (
        ("optimizer/adamw", "6e-4", "3e-4"),
        ("backbone/efficientnet_lite0", "block3b", "block6c"),
        ("recipe/finetune", "/head: auto", "/head: gap_dense"),
    ):
        file = conf / f"{name}.yaml"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))
    monkeypatch.setattr("thaw.cli.compose.conf_dir", lambda: conf)
    found = prepare_resume([f"resume={run_id}"])
    assert found is not None
    assert set(found.arguments[:-1]) == {
        *BEGAN, "head.name='logistic'", "optimizer.learning_rate=0.0006",
        "backbone.freeze='block3b'", "finetune.freeze='block3b'",
    }  # fmt: skip
    assert "note: the run goes on as it began, with " in (said := capsys.readouterr().out)
    assert "optimizer.learning_rate=0.0006 (now 0.0003)" in said
    with pytest.raises(UserError, match=r"optimizer.learning_rate: 0.0006 in the run, 0.0003 now"):
        prepare_resume([f"resume={run_id}", "optimizer.learning_rate=3e-4"])


def test_the_size_that_a_run_chose_by_its_pictures_is_its_own_and_not_remarked_on(begun, capsys) -> None:
    run_id, _ = begun(image_size=64)
    found = prepare_resume([f"resume={run_id}"])
    assert found is not None
    assert found.arguments[:-1] == [*BEGAN, "backbone.image_size=64"]
    assert found.typed(found.arguments)[:-1] == BEGAN
    assert "note:" not in capsys.readouterr().out
    assert prepare_resume([f"resume={run_id}", "backbone=efficientnet_lite0", "seed=3"]) is not None
    with pytest.raises(UserError, match=r"backbone.image_size: 64 in the run, 32 now"):
        prepare_resume([f"resume={run_id}", "backbone.image_size=32"])


def test_a_finished_run_a_sweep_and_what_is_no_run_are_refused(begun, tmp_path: Path) -> None:
    run_id, _ = begun(killed=False)
    with pytest.raises(UserError, match="has finished: there is nothing to resume"):
        prepare_resume([f"resume={run_id}"])
    with pytest.raises(UserError, match="resume a sweep's job by its own id"):
        prepare_resume(["-m", f"resume={run_id}"])
    with pytest.raises(UserError, match="no run 123456 in "):
        prepare_resume(["resume=123456"])
    with pytest.raises(UserError, match="is not the folder of a run"):
        prepare_resume([f"resume={tmp_path}"])


def test_a_sweep_is_answered_with_the_runs_that_can_go_on(begun, tmp_path: Path, outputs: Path) -> None:
    settings = tracking_config()
    sweep = tracking.open_sweep(settings, outputs, "seed=1,2", tmp_path / "sweep")
    stopped, _ = begun(parent=sweep.id)
    finished, _ = begun(parent=sweep.id, killed=False)
    tracking.close_sweep(sweep)
    for wanted in (sweep.id, str(tmp_path / "sweep")):
        with pytest.raises(UserError, match=f"{sweep.id} is a sweep .seed=1,2.: resume= continues one of its") as no:
            prepare_resume([f"resume={wanted}"])
        assert f"have not finished: {stopped}. Its best run, which has finished: {finished}." in str(no.value)


def test_a_sweep_whose_runs_have_finished_is_answered_in_one_sentence(begun, tmp_path: Path, outputs: Path) -> None:
    sweep = tracking.open_sweep(tracking_config(), outputs, "seed=1", tmp_path / "sweep")
    finished, _ = begun(parent=sweep.id, killed=False)
    tracking.close_sweep(sweep)
    with pytest.raises(UserError) as no:
        prepare_resume([f"resume={sweep.id}"])
    assert str(no.value) == (
        f"run {sweep.id} is a sweep (seed=1) whose runs have all finished: there is nothing to resume. "
        f"Its best run: {finished}"
    )


def test_a_run_whose_folder_moved_is_found_by_the_folder(begun, tmp_path: Path) -> None:
    run_id, folder = begun()
    moved = folder.rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"Was it moved\? Then give the folder"):
        prepare_resume([f"resume={run_id}"])
    found = prepare_resume([f"resume={moved}"])
    assert found is not None
    assert found.arguments[-1] == f"hydra.run.dir='{moved}'"


def test_a_run_that_ended_before_its_config_was_stored_is_to_be_started_anew(begun) -> None:
    run_id, _ = begun(stored=False)
    with pytest.raises(UserError, match="ended before its config was stored"):
        prepare_resume([f"resume={run_id}"])


def test_by_its_folder_a_run_is_found_from_a_shell_with_other_outputs(begun, outputs: Path, monkeypatch) -> None:
    run_id, folder = begun()
    monkeypatch.setenv("THAW_OUTPUTS", str(folder / "other outputs"))
    found = prepare_resume([f"resume={folder}"])
    assert found is not None
    assert found.run_id == run_id
    assert not any(a.startswith("tracking.uri") for a in found.arguments)
    assert os.environ["THAW_OUTPUTS"] == str(outputs)
    assert not (folder / "other outputs").exists()


def test_resume_of_nothing_is_a_mistake() -> None:
    with pytest.raises(UserError, match="needs the id or the folder"):
        prepare_resume(["resume="])


def test_choices_of_ones_own_are_there_when_a_run_goes_on(begun, tmp_path: Path) -> None:
    own = tmp_path / "my conf"
    (own / "experiment").mkdir(parents=True)
    (own / "experiment" / "mine.yaml").write_text("# @package _global_\nseed: 3\n")
    for arguments in (["-cd", str(own)], [f"--config-dir={own}"]):
        command = [*command_line.parse_command_line(arguments).arguments, "experiment=mine", "dataset=digits"]
        run_id, _ = begun(command=command)
        found = prepare_resume([f"resume={run_id}"])
        assert found is not None
        assert found.arguments[:-1] == command


def test_a_run_whose_outputs_were_moved_is_not_told_to_start_anew(begun, outputs: Path, monkeypatch) -> None:
    run_id, folder = begun()
    moved = outputs.rename(outputs.with_name("moved"))
    monkeypatch.setenv("THAW_OUTPUTS", str(moved))
    try:
        for wanted in (run_id, str(folder)):
            with pytest.raises(UserError, match=r"overrides\.txt\. Was the outputs folder moved or cleared\?"):
                prepare_resume([f"resume={wanted}"])
    finally:
        moved.rename(outputs)


def test_a_spoilt_run_json_is_a_mistake_that_is_named(begun) -> None:
    _, folder = begun()
    (folder / "run.json").write_text("[]")
    with pytest.raises(UserError, match=r"has no run\.json that says which"):
        prepare_resume([f"resume={folder}"])


def test_the_arguments_that_a_run_began_with_may_be_given_again_though_they_mean_something_else_now(
    begun, tmp_path: Path, monkeypatch
) -> None:
    import shutil

    run_id, _ = begun(command=[*BEGAN, "optimizer=adamw"])
    conf = tmp_path / "conf"
    shutil.copytree(CONF, conf)
    file = conf / "optimizer" / "adamw.yaml"
    file.write_text(file.read_text().replace("6e-4", "3e-4"))
    monkeypatch.setattr("thaw.cli.compose.conf_dir", lambda: conf)
    found = prepare_resume([f"resume={run_id}", "optimizer=adamw"])
    assert found is not None
    assert "optimizer.learning_rate=0.0006" in found.arguments
    other, _ = begun()
    with pytest.raises(UserError, match=r"optimizer.learning_rate: 0.0006 in the run, 0.0003 now"):
        prepare_resume([f"resume={other}", "optimizer=adamw"])

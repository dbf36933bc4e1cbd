"""A sweep's id, or its folder, stands for its best run wherever a run is asked for. Real stores, no TensorFlow."""

from pathlib import Path

import pytest

from thaw.common.errors import UserError
from thaw.config.schema import BackboneConfig
from thaw.config.tool_schemas import PredictConfig
from thaw.models import backbone_table, saved_model
from thaw.results.trained_classifier import find_saved_network, load_classifier
from thaw.tracking.run_lookup import (
    OVERRIDES_TAG,
    best_run,
    find_run,
    find_run_of_folder,
    pin_run_weights,
    resolve_run_weights,
)
from thaw.tracking.sweep_runs import close_sweep, open_sweep
from thaw.tracking.tracked_run import start_run


def keep(folder: Path) -> None:
    (folder / "model").mkdir()
    for name in (saved_model.WEIGHTS_FILE, saved_model.CLASSES_FILE, saved_model.CONFIG_FILE):
        (folder / "model" / name).write_text(name)


@pytest.fixture
def swept(tracking, outputs, tmp_path):
    """A sweep of three jobs; returns its id and the ids of its runs by their objective."""
    sweep, ids = open_sweep(tracking, outputs, "seed=1,2,3", tmp_path / "sweep"), {}
    for job, value in enumerate((0.5, 0.9, None)):
        folder = tmp_path / "sweep" / str(job)
        try:
            with start_run(
                tracking, outputs, name=f"{job}", folder=folder, parent=sweep.id, tags={OVERRIDES_TAG: f"seed={job}"}
            ) as run:
                ids[value] = run.id
                if value is None:
                    raise UserError("no pictures")
                keep(folder)
                run.log_artifact(folder / "model", "network")
                run.log_objective("val/accuracy", value)
        except UserError:
            pass
    close_sweep(sweep)
    return sweep.id, ids


def test_a_sweep_stands_for_its_best_run_and_says_so(swept, tracking, outputs, tmp_path, capsys):
    sweep, ids = swept
    for stored in (
        find_run(tracking.uri, outputs, sweep),
        find_run_of_folder(tmp_path / "sweep", tracking.uri, outputs)[0],
    ):
        assert stored.is_sweep
        assert best_run(stored).id == ids[0.9]
        assert capsys.readouterr().out == (
            f"{sweep} is a sweep: this is its best run, {ids[0.9]}, objective 0.9000: seed=1\n"
        )
    job = find_run(tracking.uri, outputs, ids[0.5])
    assert best_run(job) is job
    assert capsys.readouterr().out == ""


def test_predict_and_weights_take_a_sweep_and_its_folder(swept, tracking, outputs, tmp_path, capsys):
    sweep, _ = swept
    expected = tmp_path / "sweep" / "1" / "model" / saved_model.WEIGHTS_FILE
    for wanted in (sweep, sweep[:8], str(tmp_path / "sweep")):
        config = PredictConfig(model=wanted, outputs=str(outputs), tracking_uri=tracking.uri)
        saved, _ = find_saved_network(wanted, Path(config.outputs), config.tracking_uri)
        assert saved.weights_file == expected
        output = capsys.readouterr()
        assert output.out == "", "the listing may be read by a program"
        assert f"{sweep} is a sweep: this is its best run" in output.err
        backbone = BackboneConfig(weights=wanted)
        backbone_table.check_backbone(backbone)
        assert resolve_run_weights(backbone, tracking.uri, outputs).weights == str(expected)
        assert f"{sweep} is a sweep" in capsys.readouterr().out


def test_weights_of_a_sweep_are_pinned_to_its_best_run(swept, tracking, outputs):
    sweep_id, ids = swept
    pinned = pin_run_weights(BackboneConfig(weights=sweep_id), tracking.uri, outputs)
    assert pinned.weights == ids[0.9], "the best may be another one tomorrow"
    job = BackboneConfig(weights=ids[0.9])
    assert pin_run_weights(job, tracking.uri, outputs) is job


def test_a_sweep_of_which_nothing_finished_has_no_best_run(tracking, outputs, tmp_path):
    sweep = open_sweep(tracking, outputs, "sweep", tmp_path / "sweep")
    close_sweep(sweep, status="KILLED")
    with pytest.raises(UserError, match=rf"{sweep.id} is a sweep .sweep, KILLED. of which no run has finished"):
        best_run(find_run(tracking.uri, outputs, sweep.id))


def test_a_sweep_that_was_killed_without_a_word_has_a_best_run_all_the_same(swept, tracking, outputs, client):
    sweep, ids = swept
    client.delete_tag(sweep, "thaw.best_run")
    assert best_run(find_run(tracking.uri, outputs, sweep)).id == ids[0.9]


def test_without_a_model_in_the_store_the_runs_own_folder_has_it(tracking, outputs, tmp_path):
    with start_run(tracking, outputs, name="run", folder=tmp_path / "run") as run:
        keep(tmp_path / "run")
    assert find_run(tracking.uri, outputs, run.id).model_file() == tmp_path / "run" / "model" / saved_model.WEIGHTS_FILE
    (tmp_path / "run" / "run.json").unlink()
    with pytest.raises(UserError, match="has no model in the store, and none in a folder on this machine"):
        find_run(tracking.uri, outputs, run.id).model_file()


def test_a_logged_models_folder_has_the_network_in_its_data(tracking, outputs, tmp_path):
    keep(tmp_path)
    logged = tmp_path / "logged"
    logged.mkdir()
    (tmp_path / "model").rename(logged / "data")
    with pytest.raises(UserError):
        find_saved_network(str(logged), outputs, tracking.uri)
    (logged / "MLmodel").touch()
    network, _ = find_saved_network(str(logged), outputs, tracking.uri)
    assert network.weights_file == logged / "data" / saved_model.WEIGHTS_FILE


@pytest.mark.parametrize("weights", ["0123456789abcdef" * 2, "flowers@champion", "models:/flowers/3"])
def test_a_runs_weights_do_not_predict_imagenets_classes(tracking, outputs, weights):
    with pytest.raises(UserError, match=f"weights={weights} names a run.*: predict with it by model={weights}"):
        load_classifier(None, BackboneConfig(weights=weights), outputs, tracking.uri)

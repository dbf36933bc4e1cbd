import json
import math
import shutil
from pathlib import Path

import pytest

from thaw.common.errors import UserError
from thaw.tracking import logged_model
from thaw.tracking.run_lookup import find_run
from thaw.tracking.tracked_run import start_run
from thaw.tracking.unsent_file import UNSENT_FILE


def killed(tracking, outputs, folder, work):
    """A run of this process that ends by Ctrl-C after `work(run)`."""
    with pytest.raises(KeyboardInterrupt), start_run(tracking, outputs, name="run", folder=folder) as run:  # noqa: PT012
        work(run)
        raise KeyboardInterrupt
    return run.id


def again(tracking, outputs, folder, run_id):
    return start_run(tracking, outputs, name="run", folder=folder, resume=run_id)


def test_a_folder_tells_which_run_it_is_and_the_store_where_the_run_lives(tracking, outputs, client, tmp_path):
    with start_run(tracking, outputs, name="run", folder=tmp_path / "a" / "run") as run:
        pass
    assert json.loads((tmp_path / "a" / "run" / "run.json").read_text()) == {
        "run_id": run.id,
        "tracking_uri": tracking.uri,
    }
    tags = client.get_run(run.id).data.tags
    assert tags["thaw.folder"] == str(tmp_path / "a" / "run")
    assert tags["thaw.cwd"] == str(Path.cwd())
    assert run.resumed_tags == {}


def test_a_run_killed_with_minus_9_goes_on_with_one_point_a_step(tracking, outputs, client, tmp_path, start_process):
    earlier = start_process(outputs, tmp_path / "run")
    run_id = earlier.id
    earlier.kill()
    assert client.get_run(run_id).info.status == "RUNNING"
    with again(tracking, outputs, tmp_path / "run", run_id) as run:
        assert run.id == run_id
        assert run.resumed_tags["thaw.folder"] == str(tmp_path / "run")
        run.log_metrics({"epoch/loss": 0.2500001}, step=2)  # trained again, from the checkpoint after epoch 1
        run.log_metrics({"epoch/loss": 0.125, "epoch/accuracy": 0.9}, step=3)
    history = [(m.step, m.value) for m in client.get_metric_history(run_id, "epoch/loss")]
    assert history == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert client.get_run(run_id).info.status == "FINISHED"
    assert len(client.search_runs([run.experiment_id])) == 1


def test_two_processes_cannot_be_at_work_on_one_run(tracking, outputs, client, tmp_path, start_process):
    other = start_process(outputs, tmp_path / "run")
    with pytest.raises(UserError, match=f"run {other.id} is still running in another process"):
        again(tracking, outputs, tmp_path / "run", other.id).__enter__()
    with pytest.raises(UserError, match="still running"):
        start_run(tracking, outputs, name="other", folder=tmp_path / "run").__enter__()
    assert client.get_run(other.id).info.status == "RUNNING"
    other.kill()
    with again(tracking, outputs, tmp_path / "run", other.id):
        pass


def test_resumptions_are_counted_and_the_reason_of_the_earlier_end_goes(tracking, outputs, client, tmp_path):
    run_id = killed(tracking, outputs, tmp_path, lambda run: None)
    assert client.get_run(run_id).data.tags["thaw.reason"] == "KeyboardInterrupt"
    for count in ("1", "2"):
        with pytest.raises(SystemExit), again(tracking, outputs, tmp_path, run_id) as run:  # noqa: PT012
            stored = client.get_run(run_id)
            assert (stored.info.status, stored.data.tags["thaw.resumed"]) == ("RUNNING", count)
            assert "thaw.reason" not in stored.data.tags
            assert run.resumed_tags["thaw.reason"]
            raise SystemExit(143)
    assert client.get_run(run_id).data.tags["thaw.reason"] == "SystemExit: 143"


def test_params_stay_and_only_missing_ones_are_added(tracking, outputs, client, tmp_path):
    run_id = killed(tracking, outputs, tmp_path, lambda run: run.log_params({"seed": 7, "finetune.stages[0]": "head"}))
    with again(tracking, outputs, tmp_path, run_id) as run:
        run.log_params({"seed": 8, "finetune.stages[0]": "thaw", "checkpoint.minutes": 5})
    assert client.get_run(run_id).data.params == {
        "seed": "7",
        "finetune.stages_0_": "head",
        "checkpoint.minutes": "5",
    }


def test_figures_are_repeated_only_when_they_differ(tracking, outputs, client, tmp_path):
    figures = {"val/accuracy": 0.5, "val/loss": math.nan, "test/loss": math.inf, "parity/images": 12}
    run_id = killed(tracking, outputs, tmp_path, lambda run: run.log_metrics(figures, step=3))
    with again(tracking, outputs, tmp_path, run_id) as run:
        run.log_metrics({**figures, "parity/images": 13}, step=3)
    assert [len(client.get_metric_history(run_id, key)) for key in figures] == [1, 1, 1, 2]
    assert client.get_run(run_id).data.metrics["parity/images"] == 13


def test_the_data_set_is_an_input_once(tracking, outputs, client, tmp_path):
    run_id = killed(tracking, outputs, tmp_path, lambda run: run.log_dataset("photos", "0" * 64, "photos"))
    with again(tracking, outputs, tmp_path, run_id) as run:
        run.log_dataset("photos", "0" * 64, "photos")
    assert len(client.get_run(run_id).inputs.dataset_inputs) == 1


def test_models_from_before_the_kill_are_replaced(tracking, outputs, client, tmp_path, monkeypatch):
    def write(model, logged, run_id, folder, metadata, parts):  # the real one needs TensorFlow: see test_runs.py
        (folder / "data").mkdir(parents=True)
        (folder / logged_model.KERAS_FILE).write_text(model)

    monkeypatch.setattr(logged_model, "write_model", write)

    def work(run):
        run.log_model("ready before the kill")
        client.create_logged_model(run.experiment_id, name="model", source_run_id=run.id)  # killed amid saving

    run_id = killed(tracking, outputs, tmp_path, work)
    with again(tracking, outputs, tmp_path, run_id) as run:
        run.log_model("of the whole run")
    (logged,) = client.search_logged_models([run.experiment_id])
    assert logged.status == "READY"
    assert find_run(tracking.uri, outputs, run_id).model_file().read_text() == "of the whole run"
    assert len(list(outputs.rglob("model.keras"))) == 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda client, run_id: client.set_terminated(run_id, "FINISHED"), "finished; there is nothing to resume"),
        (lambda client, run_id: client.delete_run(run_id), "was deleted"),
    ],
)
def test_what_cannot_go_on_is_refused(tracking, outputs, client, tmp_path, spoil, message):
    run_id = killed(tracking, outputs, tmp_path, lambda run: None)
    spoil(client, run_id)
    with pytest.raises(UserError, match=message):
        again(tracking, outputs, tmp_path, run_id).__enter__()
    with pytest.raises(UserError, match="no such run"):
        again(tracking, outputs, tmp_path / "other", "0" * 32).__enter__()


def test_a_copy_of_a_living_runs_folder_is_not_gone_on_with(tracking, outputs, tmp_path, start_process):
    other = start_process(outputs, tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    with pytest.raises(UserError, match=r"is still running in another process, in .*/run"):
        again(tracking, outputs, tmp_path / "copy", other.id).__enter__()


def test_an_unsent_file_that_somebody_spoilt_is_named_and_kept_aside(tracking, outputs, tmp_path, capsys):
    run_id = killed(tracking, outputs, tmp_path / "run", lambda run: None)
    (tmp_path / "run" / UNSENT_FILE).write_text("not json")
    with again(tracking, outputs, tmp_path / "run", run_id):
        assert f"{UNSENT_FILE} is not what thaw wrote" in capsys.readouterr().out
    assert (tmp_path / "run" / f"{UNSENT_FILE}.damaged").read_text() == "not json"

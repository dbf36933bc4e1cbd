import shutil

import pytest
from mlflow.entities import Metric

from thaw.tracking.sweep_runs import open_sweep
from thaw.tracking.tracked_run import start_run
from thaw.tracking.unsent_file import UnsentWrites


def test_what_died_is_closed_by_the_next_start_and_what_lives_is_left_alone(
    tracking, outputs, client, tmp_path, start_process, capsys
):
    dead, sweep, alive = (start_process(outputs, tmp_path / name, name) for name in ("run", "sweep", "alive"))
    dead.kill()
    sweep.kill()
    with start_run(tracking, outputs, name="next", folder=tmp_path / "next") as run:
        pass
    for each, hint in ((dead, f"resume: python train.py resume={tmp_path / 'run'}"), (sweep, "")):
        stored = client.get_run(each.id)
        reason = f"ended without a word: out of memory, or kill -9? {hint}".strip()
        assert (stored.info.status, stored.data.tags["thaw.reason"]) == ("KILLED", reason)
        assert stored.info.end_time
    assert client.get_run(alive.id).info.status == "RUNNING"
    assert "thaw.reason" not in client.get_run(alive.id).data.tags
    assert client.get_run(run.id).info.status == "FINISHED"
    reported = [line for line in capsys.readouterr().out.splitlines() if "without a word" in line]
    assert sorted(line.split()[1] for line in reported) == sorted([dead.id, sweep.id])
    open_sweep(tracking, outputs, "one more", tmp_path / "one more").lock.release()
    assert "without a word" not in capsys.readouterr().out


@pytest.mark.parametrize("why", ["another machine", "no folder", "no lock", "no tags"])
def test_a_run_of_which_nobody_can_tell_is_left_alone(tracking, outputs, client, tmp_path, why):
    with start_run(tracking, outputs, name="run", folder=tmp_path / "run") as run:
        pass
    client.update_run(run.id, "RUNNING")
    if why == "another machine":
        client.set_tag(run.id, "thaw.host", "elsewhere")
    elif why == "no folder":
        shutil.rmtree(tmp_path / "run")
    elif why == "no lock":
        (tmp_path / "run" / "run.lock").unlink()
    else:
        client.delete_tag(run.id, "thaw.folder")
    with start_run(tracking, outputs, name="next", folder=tmp_path / "next"):
        pass
    assert client.get_run(run.id).info.status == "RUNNING"


def test_a_run_is_locked_before_the_store_knows_it(tracking, outputs, tmp_path, monkeypatch, client):
    from mlflow import MlflowClient

    create, checked = MlflowClient.create_run, []

    def create_run(self, *arguments, **named):
        created = create(self, *arguments, **named)
        if not checked:  # a run that starts at this moment looks for dead ones
            checked.append(created.info.run_id)
            with start_run(tracking, outputs, name="other", folder=tmp_path / "other"):
                pass
        return created

    monkeypatch.setattr(MlflowClient, "create_run", create_run)
    with start_run(tracking, outputs, name="run", folder=tmp_path / "run") as run:
        assert checked == [run.id]
        assert client.get_run(run.id).info.status == "RUNNING"


def test_what_a_run_had_not_sent_when_it_was_killed_is_sent_before_it_is_closed(tracking, outputs, client, tmp_path):
    with start_run(tracking, outputs, name="run", folder=tmp_path / "run") as run:
        pass
    client.update_run(run.id, "RUNNING")
    UnsentWrites(run.id, tracking.uri, [Metric("epoch/loss", 0.5, 17, 1)], {"thaw.stage": "head"}).write(
        tmp_path / "run"
    )
    with start_run(tracking, outputs, name="next", folder=tmp_path / "next"):
        pass
    stored = client.get_run(run.id)
    assert (stored.info.status, stored.data.tags["thaw.stage"]) == ("KILLED", "head")
    assert [(m.value, m.timestamp) for m in client.get_metric_history(run.id, "epoch/loss")] == [(0.5, 17)]

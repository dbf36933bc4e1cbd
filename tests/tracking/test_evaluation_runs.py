"""An evaluation in the store is not taken for a run that trained. A real store, no TensorFlow."""

import re

import pytest

from thaw.cli import resume
from thaw.common.errors import UserError
from thaw.config.schema import BackboneConfig
from thaw.results.trained_classifier import find_saved_network
from thaw.tracking.evaluation_runs import EVALUATED_RUN_TAG, EVALUATION, KIND_TAG
from thaw.tracking.mlflow_store import open_store
from thaw.tracking.orphaned_runs import close_orphaned_runs
from thaw.tracking.run_lookup import find_run, resolve_run_weights
from thaw.tracking.tracked_run import start_run


@pytest.fixture
def evaluation(tracking, outputs, tmp_path) -> str:
    tags = {KIND_TAG: EVALUATION, EVALUATED_RUN_TAG: "0123abcd"}
    with start_run(tracking, outputs, name="evaluate-a-b", folder=tmp_path / "evaluation", tags=tags) as run:
        return run.id


def test_who_asks_for_its_network_is_told_which_run_has_it(evaluation, tracking, outputs, tmp_path):
    told = rf"run {evaluation} \(evaluate-a-b\) is an evaluation and trained no network. .*: 0123abcd"
    for wanted in (evaluation, str(tmp_path / "evaluation")):
        with pytest.raises(UserError, match=told):
            find_saved_network(wanted, outputs, tracking.uri)
        with pytest.raises(UserError, match=told):
            resolve_run_weights(BackboneConfig(weights=wanted), tracking.uri, outputs)


def test_it_is_not_among_the_runs_that_an_error_offers(evaluation, tracking, outputs, tmp_path):
    with start_run(tracking, outputs, name="trained", folder=tmp_path / "trained") as run:
        pass
    with pytest.raises(UserError, match=re.escape(f"The latest runs: {run.id} (trained).")):
        find_run(tracking.uri, outputs, "ffffff")


def test_one_that_was_killed_is_closed_and_not_offered_to_be_resumed(evaluation, tracking, outputs, client, capsys):
    client.update_run(evaluation, "RUNNING")
    close_orphaned_runs(open_store(tracking.uri, outputs), tracking.experiment)
    stored = client.get_run(evaluation)
    assert stored.info.status == "KILLED"
    assert "resume" not in stored.data.tags["thaw.reason"] + capsys.readouterr().out
    with pytest.raises(UserError, match="is an evaluation, which cannot be resumed: evaluate again"):
        resume._refuse_others(find_run(tracking.uri, outputs, evaluation))

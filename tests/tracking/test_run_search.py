import pytest

from thaw.common.errors import UserError
from thaw.tracking import run_search
from thaw.tracking.mlflow_store import open_store
from thaw.tracking.tracked_run import start_run


@pytest.fixture(scope="module")
def store(empty_store, tmp_path_factory):
    """Five runs in two experiments, the second of which is deleted, and one deleted run."""
    import shutil

    from thaw.config.schema import TrackingConfig

    outputs = tmp_path_factory.mktemp("searched")
    shutil.copy(empty_store, outputs / "mlflow.db")
    for name, experiment in {"a": "thaw", "b": "thaw", "c": "other", "d": "thaw", "e": "away"}.items():
        tracking = TrackingConfig(uri=f"sqlite:///{outputs}/mlflow.db", experiment=experiment)
        with start_run(tracking, outputs, name=name, folder=outputs / name) as run:
            run.log_metrics({"test/accuracy": 0.9 if name == "b" else 0.5})
            run.log_params({"recipe": "bottleneck" if name == "b" else "finetune"})
    opened = open_store(tracking.uri, outputs)
    opened.client.delete_run(next(run.id for run in run_search.iterate_runs(opened) if run.name == "d"))
    opened.client.delete_experiment(opened.client.get_experiment_by_name("away").experiment_id)
    return opened


def names(store, *arguments, **options) -> list[str]:
    return [run.name for run in run_search.iterate_runs(store, *arguments, **options)]


def test_runs_come_newest_first_from_all_experiments_page_by_page(store, monkeypatch):
    assert names(store) == ["c", "b", "a"]
    monkeypatch.setattr(run_search, "_PAGE", 1)
    assert names(store) == ["c", "b", "a"]
    assert names(store, deleted=True) == ["e", "d", "c", "b", "a"]
    assert [run.deleted for run in run_search.iterate_runs(store, deleted=True)] == [True, True, False, False, False]


def test_an_experiment_or_a_filter_chooses(store):
    assert names(store, None, "other") == ["c"]
    assert names(store, "metrics.`test/accuracy` > 0.8 and params.recipe = 'bottleneck'") == ["b"]
    assert names(store, 'metrics."test/accuracy" < 0.8', "thaw") == ["a"]
    assert [run.name for run in run_search.search_runs(store.uri, store.outputs, "thaw", "")] == ["a", "b"]


@pytest.mark.parametrize(
    ("wanted", "experiment", "message"),
    [
        ("", "thow", r"tracking_experiment=thow is no experiment of .* Did you mean 'thaw'\? There are: .*other, thaw"),
        ("metrics.test/accuracy > 0.8", None, "cannot be read: .* A name with a slash stands in backticks"),
        ("objective > > 1", None, r"filter=objective > > 1 cannot be read: .* Expected MLflow's filter, as in"),
        ("metrics.objective = 'high'", None, "cannot be read: "),
    ],
)
def test_what_cannot_be_read_is_one_error(store, wanted, experiment, message):
    with pytest.raises(UserError, match=message):
        names(store, wanted, experiment)


def test_a_store_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(UserError, match="there is no store at"):
        run_search.open_existing_store(f"sqlite:///{tmp_path}/none.db", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_found_by_its_id_deleted_or_not(store):
    everything = list(run_search.iterate_runs(store, deleted=True))
    assert [run_search.get_run(store, run.id) for run in everything] == everything
    assert run_search.get_run(store, 32 * "0") is None

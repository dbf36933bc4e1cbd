"""The registry in a real store, with networks that are text files: registering reads none."""

import dataclasses
import shlex
from pathlib import Path

import pytest

from thaw.common.errors import UserError
from thaw.config.schema import BackboneConfig
from thaw.tracking import find_run, logged_model, model_registry, open_store, pin_run_weights, start_run
from thaw.tracking.model_registry import CHAMPION, Candidate, run_id_of

FIRST = Candidate("0" * 64, 0.9, 0.3, 100, "# A card")


@pytest.fixture
def train(tracking, outputs, monkeypatch):
    """A run that logs a network and registers it; returns its id and the line that it prints."""

    def write(model, logged, run_id, folder, metadata, parts):
        (folder / "data").mkdir(parents=True)
        (folder / logged_model.KERAS_FILE).write_text(model)

    monkeypatch.setattr(logged_model, "write_model", write)

    def run(candidate: Candidate = FIRST, name: str = "flowers", **changes: object) -> tuple[str, str]:
        folder = outputs / "runs" / str(len(list(outputs.glob("runs/*"))))
        with start_run(tracking, outputs, name="run", folder=folder) as tracked:
            tracked.log_model("a network")
            return tracked.id, tracked.register_model(name, dataclasses.replace(candidate, **changes))

    return run


def champion(client, name: str = "flowers") -> str:
    return str(client.get_model_version_by_alias(name, CHAMPION).version)


def test_the_first_version_is_the_champion_and_has_the_card(train, client):
    run_id, line = train()
    assert line == "registered as flowers version 1 · champion: there was none"
    version = client.get_model_version_by_alias("flowers", CHAMPION)
    assert (str(version.version), version.run_id, version.description) == ("1", run_id, "# A card")
    assert version.source.startswith("file://")


@pytest.mark.parametrize(
    ("changes", "stays", "said"),
    [
        ({"accuracy": 0.91}, False, "champion instead of version 1: accuracy 0.9100 against 0.9000 on the same 100 "),
        ({"accuracy": 0.89, "loss": 0.1}, True, "champion stays version 1: accuracy 0.8900 against 0.9000 on the same"),
        ({"loss": 0.2}, False, "champion instead of version 1: accuracy 0.9000 against 0.9000, loss 0.2000 against 0."),
        ({}, True, "champion stays version 1: accuracy 0.9000 against 0.9000, loss 0.3000 against 0.3000"),
        ({"loss": float("nan")}, True, "champion stays version 1"),
        ({"accuracy": 1.0, "test_sha256": "1"}, True, "champion stays version 1: it was tested on other images, so "),
    ],
)  # fmt: skip
def test_the_champion_gives_way_only_to_a_better_one_on_the_same_test_images(train, client, changes, stays, said):
    train()
    _, line = train(**changes)
    assert line.startswith(f"registered as flowers version 2 · {said}")
    assert champion(client) == ("1" if stays else "2")


def test_a_version_that_was_registered_by_hand_is_not_replaced(train, client):
    train()
    client.delete_model_version_tag("flowers", "1", model_registry.TEST_TAG)
    assert "it was tested on other images" in train(accuracy=1.0)[1]


def test_a_run_is_registered_once(train, tracking, outputs, client):
    run_id, _ = train()
    store = open_store(tracking.uri, outputs)
    experiment_id = find_run(tracking.uri, outputs, run_id).experiment_id
    line = model_registry.register(store, experiment_id, run_id, "flowers", FIRST)
    assert line == "registered as flowers version 1 · it is the champion"
    assert len(client.search_model_versions("name='flowers'")) == 1


def test_every_reference_names_the_run_of_its_version(train, tracking, outputs, client):
    (first, _), (second, _) = train(), train(accuracy=0.5)
    logged = f"models:/{Path(client.get_model_version('flowers', '2').source).parent.name}"
    for reference, expected in {
        "models:/flowers": second, "models:/flowers/latest": second, "models:/flowers/1": first,
        "models:/flowers@champion": first, "flowers@champion": first, logged: second,
    }.items():  # fmt: skip
        assert find_run(tracking.uri, outputs, reference).id == expected, reference


@pytest.mark.parametrize(
    ("reference", "said"),
    {
        "name": ("models:/flwers", "no model flwers is registered in .* Did you mean 'flowers'. There are: flowers"),
        "version": ("models:/flowers/7", "flowers has the versions 1, and aliases: champion"),
        "alias": ("flowers@best", "flowers@best is not in .*: flowers has the versions 1, and aliases: champion"),
        "form": ("models:/flowers/1/2", "names no registered model: models:/NAME, models:/NAME/3 or"),
        "no such model": ("roses@champion", "no model roses is registered"),
    }.values(),
    ids=str,
)
def test_a_reference_that_names_nothing_is_refused_with_what_there_is(train, tracking, outputs, reference, said):
    train()
    with pytest.raises(UserError, match=said):
        find_run(tracking.uri, outputs, reference)


def test_a_model_of_no_run_is_refused(tracking, outputs, client, train):
    train()
    client.create_registered_model("foreign")
    client.create_model_version("foreign", "file:///nowhere")
    with pytest.raises(UserError, match="is of no run"):
        run_id_of(open_store(tracking.uri, outputs), "models:/foreign")


def test_weights_of_a_moving_alias_are_pinned_to_the_run(train, tracking, outputs, tmp_path: Path):
    run_id, _ = train()
    backbone = BackboneConfig(weights="flowers@champion")
    assert pin_run_weights(backbone, tracking.uri, outputs).weights == run_id
    for weights in ("imagenet", run_id):
        same = BackboneConfig(weights=weights)
        assert pin_run_weights(same, tracking.uri, outputs) is same


def test_a_deleted_run_behind_a_version_is_named_with_the_command_that_restores_it(train, tracking, outputs, client):
    run_id, _ = train()
    client.delete_run(run_id)
    restore = f"MLFLOW_TRACKING_URI={shlex.quote(tracking.uri)} mlflow runs restore --run-id {run_id}"
    for asked, which in (("flowers@champion", f"flowers@champion is run {run_id}, which"), (run_id, f"run {run_id}")):
        with pytest.raises(UserError) as refused:
            find_run(tracking.uri, outputs, asked)
        assert str(refused.value) == f"{which} is deleted in {tracking.uri}. This brings it back: {restore}"
    client.restore_run(run_id)
    assert find_run(tracking.uri, outputs, "flowers@champion").id == run_id


def test_a_champion_whose_run_is_deleted_gives_way_to_a_worse_one(train, client):
    client_run, _ = train()
    client.delete_run(client_run)
    _, line = train(accuracy=0.1, test_sha256="1")
    assert line == "registered as flowers version 2 · champion instead of version 1, whose run is deleted"
    assert champion(client) == "2"


def test_a_registered_name_alone_is_no_run_but_is_hinted_at(train, tracking, outputs):
    train()
    with pytest.raises(UserError, match=r"no run flowers in .*: write models:/flowers for .*, or flowers@champion"):
        find_run(tracking.uri, outputs, "flowers")


def test_mlflows_name_of_a_runs_artifact_stands_for_the_run(train, tracking, outputs):
    run_id, _ = train()
    for reference in (f"runs:/{run_id}/model", f"runs:/{run_id}"):
        assert find_run(tracking.uri, outputs, reference).id == run_id
    with pytest.raises(UserError, match=f"no run {'0' * 32} in"):
        find_run(tracking.uri, outputs, f"runs:/{'0' * 32}/model")

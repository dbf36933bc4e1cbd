"""Networks that other runs began from are known, however they were named."""

from pathlib import Path
from typing import Any

import pytest

from thaw.tracking.run_lookup import StoredRun
from thaw.tracking.used_weights import used_weights

BASE, SWEEP, CHILD = 32 * "a", 32 * "b", 32 * "c"


def run(id: str, weights: str = "imagenet", deleted: bool = False, **tags: str) -> StoredRun:
    store: Any = None
    named = {f"thaw.{name}": value for name, value in tags.items() if name != "parent"}
    if "parent" in tags:
        named["mlflow.parentRunId"] = tags["parent"]
    params = {"backbone.weights": weights} if weights else {}
    return StoredRun(id, "run", "FINISHED", params, named, {}, "", "1", store, deleted=deleted)


def is_used(folder: Path, *users: StoredRun, id: str = BASE) -> bool:
    runs = [run(BASE), run(SWEEP, sweep="seed=1,2"), run(CHILD, parent=SWEEP), *users]
    return used_weights(runs).include(id, folder)


@pytest.mark.parametrize(
    ("weights", "used"),
    [
        (BASE, True),
        (BASE[:6], True),
        ("{folder}", True),
        ("{folder}/model/model.keras", True),
        ("{folder}/../{name}/model/model.keras", True),
        ("out/runs/base", True),
        ("./out/runs/base/model/model.keras", True),
        ("out", True),
        ("imagenet", False),
        ("none", False),
        ("out/runs/other/model/model.keras", False),
        ("{folder}2/model/model.keras", False),
        ("weights.h5", False),
    ],
)
def test_weights_are_ids_or_paths_from_where_the_run_began(tmp_path: Path, weights: str, used: bool) -> None:
    folder = tmp_path / "out" / "runs" / "base"
    named = weights.format(folder=folder, name=folder.name)
    assert is_used(folder, run(32 * "d", named, cwd=str(tmp_path))) is used


def test_a_link_to_the_folder_names_it_too(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "base"
    folder.mkdir(parents=True)
    (tmp_path / "link").symlink_to(folder)
    assert is_used(folder, run(32 * "d", str(tmp_path / "link" / "model" / "model.keras")))
    (tmp_path / "outputs").symlink_to(tmp_path / "out")
    assert is_used(tmp_path / "outputs" / "base", run(32 * "d", str(folder)))


@pytest.mark.parametrize("weights", [SWEEP, SWEEP[:8], "{sweep}"])
def test_a_sweep_stands_for_any_of_its_runs(tmp_path: Path, weights: str) -> None:
    user = run(32 * "d", weights.format(sweep=tmp_path / "sweep"))
    assert is_used(tmp_path / "sweep" / "0", user, id=CHILD)
    assert is_used(tmp_path / "sweep", user, id=SWEEP)


def test_a_run_that_ended_before_its_config_was_logged_counts_by_its_command(tmp_path: Path) -> None:
    assert is_used(tmp_path, run(32 * "d", "", overrides=f"seed=1 backbone.weights='{tmp_path}/model/model.keras'"))
    assert is_used(tmp_path, run(32 * "d", "", overrides=f"backbone.weights={BASE}"))
    assert is_used(tmp_path, run(32 * "d", "", sweep=f"backbone.weights={32 * 'e'},{BASE} seed=1"))


def test_a_deleted_run_needs_nothing(tmp_path: Path) -> None:
    assert not is_used(tmp_path, run(32 * "d", BASE, deleted=True))


def test_a_deleted_run_whose_network_stays_keeps_the_one_that_it_began_from(tmp_path: Path) -> None:
    middle = run(32 * "d", BASE, deleted=True, folder=str(tmp_path / "middle"))
    for weights in (middle.id, str(tmp_path / "middle" / "model" / "model.keras")):
        assert is_used(tmp_path / "base", middle, run(32 * "e", weights))
    assert not is_used(tmp_path / "base", middle)

"""Runs of one config are one setting, and labels tell settings apart."""

import pytest

from thaw.compare.settings import differing_keys, group_runs

from .made_runs import made_run, rights

RIGHT = rights("1101")


def test_seeds_and_folds_of_one_config_are_one_setting() -> None:
    seeds = [made_run(RIGHT, run_id=f"a{i}", seed=i) for i in range(3)]
    folds = [made_run(RIGHT, run_id=f"b{i}", recipe="bottleneck", fold=i) for i in range(2)]
    settings = group_runs([seeds[0], folds[0], seeds[1], folds[1], seeds[2]])
    assert [[run.stored.id for run in setting.runs] for setting in settings] == [["a0", "a1", "a2"], ["b0", "b1"]]
    assert [(setting.label, setting.repeats) for setting in settings] == [
        ("finetune", "3 seeds"),
        ("bottleneck", "2 folds"),
    ]


def test_each_run_is_a_setting_where_that_is_asked_for() -> None:
    settings = group_runs([made_run(RIGHT, run_id=f"a{i}", seed=i) for i in range(2)], aggregate=False)
    assert [(setting.label, setting.repeats) for setting in settings] == [("seed=0", ""), ("seed=1", "")]
    assert [(entry.key, entry.values) for entry in differing_keys(settings)] == [("seed", ("0", "1"))]


def test_a_label_has_as_few_keys_as_tell_all_apart() -> None:
    runs = [
        made_run(RIGHT, run_id="a", recipe="bottleneck", rate=0.01),
        made_run(RIGHT, run_id="b", recipe="finetune", rate=0.01),
        made_run(RIGHT, run_id="c", recipe="finetune", rate=0.001),
    ]
    assert [setting.label for setting in group_runs(runs)] == [
        "bottleneck learning_rate=0.01",
        "finetune learning_rate=0.01",
        "finetune learning_rate=0.001",
    ]
    assert [setting.label for setting in group_runs(runs[:2])] == ["bottleneck", "finetune"]
    assert [setting.label for setting in group_runs(runs[1:])] == ["learning_rate=0.01", "learning_rate=0.001"]


def test_runs_of_the_same_everything_have_their_ids() -> None:
    twice = [made_run(RIGHT, run_id="abcdef0123"), made_run(RIGHT, run_id="0123abcdef")]
    assert [setting.label for setting in group_runs(twice, aggregate=False)] == [
        "finetune-photos abcdef01",
        "finetune-photos 0123abcd",
    ]
    assert group_runs(twice)[0].repeats == "2 runs"


def test_long_values_are_cut_and_control_characters_shown() -> None:
    runs = [made_run(RIGHT, run_id=str(i), config={"resume": None}) for i in range(2)]
    runs[0].config.backbone.weights = "/somewhere/far/away/on/this/disk/a.h5"
    runs[1].config.backbone.weights = "b\n.h5"
    labels = [setting.label for setting in group_runs(runs)]
    assert labels == ["weights=…/away/on/this/disk/a.h5", "weights=b\\n.h5"]


@pytest.mark.parametrize(("other", "differ"), [("d" * 64, []), ("e" * 64, ["dataset.path"])])
def test_the_same_data_may_lie_elsewhere(other: str, differ: list[str]) -> None:
    runs = [made_run(RIGHT, run_id="a", seed=0), made_run(RIGHT, run_id="b", seed=1, data_sha256=other)]
    runs[1].config.dataset.path = "/elsewhere"
    settings = group_runs(runs)
    assert [entry.key for entry in differing_keys(settings) if entry.key != "seed"] == differ
    assert len(settings) == 1 + len(differ)


def test_what_changes_no_result_does_not_differ() -> None:
    runs = [made_run(RIGHT, run_id="a"), made_run(RIGHT, run_id="b", recipe="scratch")]
    runs[1].config.cache.max_gb = 1.0
    runs[1].config.tracking.experiment = "other"
    assert [entry.key for entry in differing_keys(group_runs(runs))] == ["recipe"]


def test_the_same_weights_count_once() -> None:
    """A deterministic run that is done again tells nothing of other seeds."""
    runs = [made_run(RIGHT, run_id=str(i), seed=i // 2) for i in range(4)]
    for run, weights in zip(runs, "aabc", strict=True):
        run.stored.tags["thaw.weights_sha256"] = weights
    (setting,) = group_runs(runs)
    assert ([run.stored.id for run in setting.runs], setting.repetitions) == (["0", "2", "3"], 1)
    assert len(group_runs(runs, aggregate=False)) == 4


def test_a_label_names_what_differs_and_not_the_seeds_of_its_runs() -> None:
    single = made_run(RIGHT, run_id="a0", seed=0, rate=0.1)
    seeds = [made_run(RIGHT, run_id=f"b{i}", seed=i, rate=0.01) for i in range(3)]
    assert [setting.label for setting in group_runs([single, *seeds])] == ["learning_rate=0.1", "learning_rate=0.01"]

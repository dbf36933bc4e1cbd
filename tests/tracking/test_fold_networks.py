"""Which runs answer for a cross-validation: those of all folds of its best setting, where all kept their networks."""

from dataclasses import dataclass, replace

import pytest

from thaw.common.errors import UserError
from thaw.tracking.fold_networks import BEST_SETTING_TAG, fold_runs
from thaw.tracking.orphaned_runs import SWEEP_TAG
from thaw.tracking.run_lookup import DRAFT_TAG, OVERRIDES_TAG, StoredRun


@dataclass(frozen=True)
class Run(StoredRun):
    """A run, or a sweep with these runs."""

    kept: bool = True
    children: tuple = ()

    def child_runs(self, status: str) -> list:
        return [child for child in self.children if child.status == status]

    def model_file(self) -> str:
        if not self.kept:
            raise UserError("no model")
        return ""

    def artifact_path(self, path: str = "") -> str:
        return ""


def fold(overrides: str, objective: float = 0.5, **fields: object) -> Run:
    run = Run(
        overrides, "", "FINISHED", {"split.folds": "3"}, {OVERRIDES_TAG: overrides}, {"objective": objective}, "", "",
        None,
    )  # fmt: skip
    return replace(run, **fields)


def sweep(*children: Run, best: str = "") -> Run:
    tags = {BEST_SETTING_TAG: best} if best else {}
    return replace(fold("sweep"), tags=tags, children=children)


FOLDS = [fold(f"head=linear split.fold={i}") for i in range(3)]


def test_all_folds_that_kept_their_networks_answer(capsys: pytest.CaptureFixture) -> None:
    assert fold_runs(sweep(*FOLDS)) == FOLDS
    assert capsys.readouterr().err == "note: sweep is a cross-validation: the networks of its 3 folds answer\n"


@pytest.mark.parametrize(
    ("children", "finished", "kept"),
    [
        ([FOLDS[0], replace(FOLDS[1], kept=False), FOLDS[2]], 3, 2),
        (FOLDS[:2], 2, 2),
        ([*FOLDS[:2], replace(FOLDS[2], status="FAILED")], 2, 2),
    ],
)
def test_a_fold_without_a_network_leaves_the_best_run_and_it_is_said(
    children: list, finished: int, kept: int, capsys: pytest.CaptureFixture
) -> None:
    assert fold_runs(sweep(*children)) == []
    said = capsys.readouterr().err
    assert f"of 3 folds, of which {finished} finished and {kept} kept the network: its best run answers" in said
    assert "tracking.complete=all" in said


def test_a_cross_validation_with_one_fold_left_says_that_its_best_run_answers(capsys: pytest.CaptureFixture) -> None:
    typed = {SWEEP_TAG: "head=linear split.folds=2 split.fold=0,1"}
    assert fold_runs(replace(sweep(FOLDS[0]), tags=typed)) == []
    assert "fewer than two folds are finished and in the store: its best run answers" in capsys.readouterr().err
    others = [fold(f"head=mlp split.fold={i}", 0.75) for i in range(3)]
    assert fold_runs(sweep(FOLDS[0], *others, best="head=linear")) == [], "no other setting answers for the best"
    assert "fewer than two folds of its best setting, head=linear, are finished" in capsys.readouterr().err
    assert fold_runs(replace(sweep(FOLDS[0]), tags={SWEEP_TAG: "seed=1,2 split.fold=0"})) == []
    assert capsys.readouterr().err == ""


def test_of_several_settings_the_best_one_answers(capsys: pytest.CaptureFixture) -> None:
    others = [fold(f"head=mlp split.fold={i}", 0.75) for i in range(3)]
    assert fold_runs(sweep(*FOLDS, *others, best="head=linear")) == FOLDS
    assert "3 folds answer of its best setting, head=linear" in capsys.readouterr().err
    assert fold_runs(sweep(*FOLDS, *others)) == others, "a sweep that was killed did not say which is the best"


def test_other_sweeps_and_drafts_have_no_folds(capsys: pytest.CaptureFixture) -> None:
    assert fold_runs(sweep(fold("seed=1"), fold("seed=2"))) == []
    drafts = [replace(run, tags={**run.tags, DRAFT_TAG: "True"}) for run in FOLDS]
    assert fold_runs(sweep(*drafts)) == []
    assert capsys.readouterr().err == ""

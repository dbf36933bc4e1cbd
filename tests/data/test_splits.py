import hashlib

import numpy as np
import pytest

from thaw.common.errors import UserError
from thaw.data.catalog import TEST, TRAIN, UNASSIGNED, VAL
from thaw.data.splits import SplitOptions, describe_fold, make_splits, missing_class_warnings


def splits_of(labels, assigned=UNASSIGNED, groups=None, **changes):
    labels = np.asarray(labels, np.int32)
    options = SplitOptions(**{"val_fraction": 0.1, "test_fraction": 0.2, "seed": 0, **changes})
    names = tuple("abcdefghij"[: labels.max() + 1])
    return make_splits(labels, np.broadcast_to(np.array(assigned, np.int8), labels.shape), names, groups, options)


def counts(splits, labels):
    return {name: np.bincount(np.asarray(labels)[part]).tolist() for name, part in splits.by_name().items()}


LABELS = np.tile([0, 1, 1], 100)  # 100 a, 200 b


def test_every_image_is_in_exactly_one_split():
    assert splits_of(LABELS).all_indices().tolist() == list(range(300))


def test_splits_keep_the_proportions_of_the_classes():
    assert counts(splits_of(LABELS), LABELS) == {"train": [70, 140], "val": [10, 20], "test": [20, 40]}


def test_indices_are_ascending_int64():
    for part in splits_of(LABELS).by_name().values():
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()


def test_the_seed_decides():
    assert np.array_equal(splits_of(LABELS, seed=1).test, splits_of(LABELS, seed=1).test)
    assert not np.array_equal(splits_of(LABELS, seed=1).test, splits_of(LABELS, seed=2).test)


def test_images_are_not_taken_in_their_order():
    assert splits_of(np.repeat([0, 1], 100)).test.max() > 120


def test_an_assigned_test_set_is_kept_and_only_validation_is_split_off():
    assigned = np.where(np.arange(300) < 30, TEST, TRAIN)
    splits = splits_of(LABELS, assigned)
    assert splits.test.tolist() == list(range(30))
    assert counts(splits, LABELS) == {"train": [81, 162], "val": [9, 18], "test": [10, 20]}


def test_an_assigned_validation_set_is_kept_and_only_test_is_split_off():
    assigned = np.where(np.arange(300) < 30, VAL, TRAIN)
    splits = splits_of(LABELS, assigned)
    assert splits.val.tolist() == list(range(30))
    assert counts(splits, LABELS) == {"train": [72, 144], "val": [10, 20], "test": [18, 36]}


def test_splits_that_are_all_assigned_are_kept_entirely():
    assigned = np.tile([TRAIN, TRAIN, TRAIN, VAL, VAL, VAL, TEST, TEST, TEST, TRAIN, TRAIN, TRAIN], 25)
    splits = splits_of(LABELS, assigned)
    assert all(np.array_equal(part, np.flatnonzero(assigned == n)) for n, part in enumerate(splits.by_name().values()))


def test_the_limit_holds_in_every_split_and_smaller_limits_are_nested():
    few = splits_of(LABELS, limit_per_class=3)
    more = splits_of(LABELS, limit_per_class=15)
    assert counts(few, LABELS) == {"train": [3, 3], "val": [3, 3], "test": [3, 3]}
    assert counts(more, LABELS) == {"train": [15, 15], "val": [10, 15], "test": [15, 15]}
    assert set(few.all_indices()) <= set(more.all_indices()) <= set(splits_of(LABELS).all_indices())
    assert set(few.test) <= set(splits_of(LABELS).test)


@pytest.mark.parametrize("n", [3, 4, 5, 7])
@pytest.mark.parametrize("fractions", [(0.01, 0.01), (0.1, 0.1), (0.5, 0.4), (0.49, 0.5)])
def test_a_small_class_is_in_every_split(n, fractions):
    labels = [0] * n + [1] * 50
    splits = splits_of(labels, val_fraction=fractions[0], test_fraction=fractions[1])
    assert all(count[0] >= 1 for count in counts(splits, labels).values())
    assert len(splits.all_indices()) == n + 50


def test_more_images_of_one_class_leave_the_others_where_they_are():
    before = splits_of([0] * 40 + [1] * 40)
    after = splits_of([0] * 40 + [1] * 90)
    assert [i for i in before.test if i < 40] == [i for i in after.test if i < 40]


def test_a_class_too_small_for_its_splits_is_named():
    with pytest.raises(UserError, match=r"class 'b' has 2 images, but 3 splits \(train, val, test\) need at least one"):
        splits_of([0, 0, 0, 1, 1])


def test_an_assigned_split_asks_for_less():
    labels, assigned = [0, 0, 1, 1, 0, 1], [TRAIN] * 4 + [TEST] * 2
    assert counts(splits_of(labels, assigned), labels) == {"train": [1, 1], "val": [1, 1], "test": [1, 1]}
    with pytest.raises(UserError, match=r"class 'a' has 1 images, but 2 splits \(train, val\)"):
        splits_of([0, 1, 1, 0, 1], [TRAIN] * 3 + [TEST] * 2)


@pytest.mark.parametrize("number", [VAL, TEST])
def test_an_assigned_split_may_lack_classes_and_a_line_names_them(number):
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    splits = splits_of(labels, [TRAIN, TRAIN, TRAIN, number, TRAIN, TRAIN, TRAIN, TRAIN])
    name = {VAL: "val", TEST: "test"}[number]
    assert splits.by_name()[name].tolist() == [3]
    assert missing_class_warnings(splits, labels, ("a", "b")) == [
        f"warning: {name} has no images of 1 of 2 classes: b. Its figures say nothing of them"
    ]
    assert missing_class_warnings(splits_of(labels), labels, ("a", "b")) == []


def test_a_class_without_training_images_is_refused():
    with pytest.raises(UserError, match="class 'b' has no images to train on"):
        splits_of([0, 0, 0, 1, 1, 1], [TRAIN, TRAIN, TEST, TEST, TEST, VAL])


@pytest.mark.parametrize(
    ("options", "sha256"),
    [
        ({"version": 1}, "1d84cea9ceb3"),
        ({"version": 1, "limit_per_class": 20}, "1a7a8b912257"),
        ({"version": 1, "folds": 5, "fold": 2}, "16cd049eab71"),
        ({"version": 1, "groups": np.arange(300) // 3}, "a9286752eea8"),
        ({}, "24495f09c46b"),
        ({"limit_per_class": 20}, "301270026f64"),
        ({"folds": 5, "fold": 2}, "138fd253758f"),
        ({"groups": np.arange(300) // 3}, "f2a061828bbd"),
    ],
)
def test_a_split_is_the_same_on_every_machine_and_in_every_version(options, sha256):
    """A change here changes every run's data: a new version of the rule, which runs record, and the old one stays."""
    sides = [part.astype("<i8").tobytes() for part in splits_of(LABELS, **options).by_name().values()]
    assert hashlib.sha256(b"".join(sides)).hexdigest()[:12] == sha256


def test_a_fold_is_named_by_its_number_from_0():
    assert describe_fold(None, 0) == ""
    assert describe_fold(5, 0) == "fold 0 of 5 (counted from 0) validates, the others train"


def test_fractions_must_leave_something_to_train():
    with pytest.raises(UserError, match="leave nothing for training"):
        splits_of(LABELS, val_fraction=0.5, test_fraction=0.5)


MIXED = np.where(np.arange(300) < 120, TRAIN, UNASSIGNED)  # 40 a and 80 b are assigned, 60 a and 120 b are not


@pytest.mark.parametrize("groups", [None, np.arange(300) // 3])
def test_images_assigned_to_training_train_where_others_are_unassigned(groups):
    splits = splits_of(LABELS, MIXED, groups=groups)
    assert set(range(120)) <= set(splits.train)
    assert counts(splits, LABELS) == {"train": [82, 164], "val": [6, 12], "test": [12, 24]}
    assert len(splits.all_indices()) == 300


def test_beside_an_assigned_test_set_validation_is_split_off_the_unassigned_images():
    splits = splits_of(LABELS, np.where(np.arange(300) < 30, TEST, MIXED))
    assert set(range(30, 120)) <= set(splits.train)
    assert counts(splits, LABELS) == {"train": [84, 168], "val": [6, 12], "test": [10, 20]}


def test_with_folds_only_unassigned_images_are_tested_and_assigned_ones_take_turns():
    folds = [splits_of(LABELS, MIXED, folds=4, fold=fold) for fold in range(4)]
    assert all(np.array_equal(one.test, folds[0].test) and len(one.test) == 36 for one in folds)
    assert folds[0].test.min() >= 120
    validated = np.sort(np.concatenate([one.val for one in folds]))
    assert np.array_equal(validated, np.setdiff1d(np.arange(300), folds[0].test))


def test_an_unassigned_image_of_a_training_images_group_trains():
    groups = np.where(np.arange(300) >= 290, 0, np.arange(300))
    assert set(range(290, 300)) <= set(splits_of(LABELS, MIXED, groups=groups).train)


def test_a_class_needs_as_many_unassigned_images_as_splits_are_missing():
    labels, assigned = [0] * 6 + [1] * 6, [TRAIN] * 4 + [UNASSIGNED] * 8
    assert counts(splits_of(labels, assigned), labels) == {"train": [4, 4], "val": [1, 1], "test": [1, 1]}
    with pytest.raises(UserError, match="class 'a' leaves the split of 1 images empty, but test, val need") as error:
        splits_of(labels, [TRAIN] * 5 + [UNASSIGNED] * 7)
    assert "class 'b'" not in str(error.value)
    with pytest.raises(UserError, match="class 'a' leaves the split of 2 images in 1 groups that stay together empty"):
        splits_of(labels, assigned, groups=np.array([0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 10]))
    with pytest.raises(
        UserError, match="class 'a' leaves the split of 0 images empty"
    ):  # all unassigned ones join training
        splits_of(labels, assigned, groups=np.array([0, 1, 2, 3, 0, 0, 5, 6, 7, 8, 9, 10]))


@pytest.mark.parametrize("seed", range(10))
def test_unassigned_groups_may_all_go_to_missing_splits(seed):
    """Training has its images: it needs none of the two unassigned groups."""
    labels, assigned = [0] * 12 + [1] * 12, [TRAIN, TRAIN, *[UNASSIGNED] * 10] * 2
    groups = np.array([0, 1, *[2] * 5, *[3] * 5, 4, 5, *[6] * 2, *[7] * 8])
    class_counts = counts(splits_of(labels, assigned, groups=groups, seed=seed), labels)
    assert class_counts["train"] == [2, 2]
    assert all(min(class_counts[side]) >= 2 for side in ("val", "test"))


@pytest.mark.parametrize("seed", range(5))
def test_a_rare_class_comes_into_missing_splits_though_its_groups_would_fit_training(seed):
    labels = [0, 0, 0] + [1] * 120
    assigned = [TRAIN, UNASSIGNED, UNASSIGNED, TRAIN, *[UNASSIGNED] * 119]
    groups = np.array([0, 1, 2, 3, *[1] * 20, *[2] * 20, *range(4, 83)])
    class_counts = counts(splits_of(labels, assigned, groups=groups, seed=seed), labels)
    assert [class_counts[side][0] for side in ("train", "val", "test")] == [1, 1, 1]

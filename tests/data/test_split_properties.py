"""Properties of every split, whatever the data: hypothesis searches for counterexamples."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from thaw.common.errors import UserError
from thaw.config.schema import DatasetConfig
from thaw.data import csv_table
from thaw.data.catalog import SPLIT_NAMES, TEST, TRAIN, UNASSIGNED, VAL
from thaw.data.splits import SplitOptions, group_ids, make_splits

FEW = settings(max_examples=60, deadline=None, derandomize=True)  # the same examples on every machine
CLASSES = 3
SEEDS = st.integers(0, 2**31 - 1)
FRACTIONS = st.floats(0.01, 0.45)


@st.composite
def labelled(draw):
    """Labels of at least 8 images of each of three classes, in any order."""
    counts = draw(st.lists(st.integers(8, 40), min_size=CLASSES, max_size=CLASSES))
    labels = np.repeat(np.arange(CLASSES, dtype=np.int32), counts)
    return np.random.default_rng(draw(SEEDS)).permutation(labels)


@st.composite
def grouped(draw):
    """Labels, and groups of up to a class's size, some with images of several classes."""
    labels = draw(labelled())
    rng = np.random.default_rng(draw(SEEDS))
    numbers = rng.integers(0, draw(st.integers(12, 80)), len(labels))
    if draw(st.booleans()):  # of one class each
        numbers = numbers * CLASSES + labels
    return labels, numbers.astype(np.int64)


def splits_of(labels, assigned=UNASSIGNED, groups=None, **changes):
    options = SplitOptions(**{"val_fraction": 0.1, "test_fraction": 0.2, "seed": 0, **changes})
    assigned = np.broadcast_to(np.array(assigned, np.int8), labels.shape)
    return make_splits(labels, assigned, ("a", "b", "c"), groups, options)


def possible(labels, **options):
    """Return the splits; skip data that cannot be split."""
    try:
        return splits_of(labels, **options)
    except UserError:
        assume(False)


def counts(labels, part):
    return np.bincount(labels[part], minlength=CLASSES)


def sides(splits, images):
    """Return the number of the split that each image is in, -1 for none."""
    side = np.full(images, -1)
    for number, name in enumerate(SPLIT_NAMES):
        side[splits.by_name()[name]] = number
    return side


@FEW
@given(grouped(), FRACTIONS, FRACTIONS, SEEDS)
def test_splits_are_disjoint_complete_and_hold_every_class(data, val, test, seed):
    labels, groups = data
    for group_numbers in (None, groups):
        splits = possible(labels, groups=group_numbers, val_fraction=val, test_fraction=test, seed=seed)
        assert splits.all_indices().tolist() == list(range(len(labels)))
        assert all(counts(labels, part).min() >= 1 for part in splits.by_name().values())


@FEW
@given(grouped(), SEEDS, st.none() | st.integers(2, 5))
def test_a_group_is_never_cut(data, seed, folds):
    labels, groups = data
    side = sides(possible(labels, groups=groups, seed=seed, folds=folds), len(labels))
    assert all(len(np.unique(side[groups == group])) == 1 for group in np.unique(groups))


@FEW
@given(labelled(), FRACTIONS, FRACTIONS, SEEDS)
def test_classes_keep_their_shares_within_one_image(labels, val, test, seed):
    splits = splits_of(labels, val_fraction=val, test_fraction=test, seed=seed)
    total = np.bincount(labels)
    for share, part in ((val, splits.val), (test, splits.test)):
        assert (np.abs(counts(labels, part) - share * total) <= 1).all()


@FEW
@given(labelled(), SEEDS, SEEDS)
def test_groups_of_one_image_change_nothing(labels, seed, numbers):
    alone = np.random.default_rng(numbers).permutation(len(labels))
    assert splits_of(labels, seed=seed).test.tolist() == splits_of(labels, seed=seed, groups=alone).test.tolist()


@FEW
@given(grouped(), SEEDS, SEEDS)
def test_the_numbers_of_the_groups_do_not_matter(data, seed, numbers):
    labels, groups = data
    other = np.random.default_rng(numbers).permutation(1000)[groups]
    one, two = (possible(labels, groups=ids, seed=seed) for ids in (groups, other))
    assert np.array_equal(sides(one, len(labels)), sides(two, len(labels)))


@FEW
@given(grouped(), st.integers(2, 5), SEEDS, st.booleans())
def test_folds_are_disjoint_and_cover_what_is_not_test(data, folds, seed, with_groups):
    labels, groups = data
    options = {"groups": groups if with_groups else None, "folds": folds, "seed": seed}
    folded = [possible(labels, fold=fold, **options) for fold in range(folds)]
    pool = np.setdiff1d(np.arange(len(labels)), folded[0].test)
    assert np.array_equal(np.sort(np.concatenate([splits.val for splits in folded])), pool)
    for splits in folded:
        assert np.array_equal(splits.test, folded[0].test)
        assert np.array_equal(np.sort(np.concatenate([splits.val, splits.train])), pool)
        assert counts(labels, splits.val).min() >= 1
        if not with_groups:
            assert (np.abs(counts(labels, splits.val) - counts(labels, pool) / folds) < 1).all()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(36):
        (folder / f"{i}.jpg").touch()
    return folder


@FEW
@given(order=st.permutations(range(36)), seed=SEEDS, folds=st.none() | st.just(3))
def test_the_order_of_the_input_does_not_matter(pictures, order, seed, folds):
    def side_of(rows):
        lines = [f"{i}.jpg,{'xyz'[i % 3]},{i // 6 if i < 12 else ''}" for i in rows]
        (pictures / "labels.csv").write_text("\n".join(["path,label,group", *lines]))
        catalog = csv_table.load_catalog(DatasetConfig(name="csv", path=str(pictures / "labels.csv")))
        # Two pictures are equal, and of different classes.
        hashes = [name if name not in ("20.jpg", "23.jpg") else "equal" for name in catalog.names]
        groups = group_ids(hashes, catalog.groups)
        splits = splits_of(catalog.labels, catalog.assigned_splits, groups=groups, folds=folds, seed=seed)
        return dict(zip(catalog.names, sides(splits, 36).tolist(), strict=True))

    assert side_of(order) == side_of(range(36))


@FEW
@given(labelled(), SEEDS)
def test_folds_leave_the_test_set_where_it_is(labels, seed):
    whole = splits_of(labels, seed=seed)
    assert all(np.array_equal(splits_of(labels, seed=seed, folds=k).test, whole.test) for k in (2, 5))


NAMES_OF_CLASSES = ("b", "d", "f")
OPTIONS = st.fixed_dictionaries(
    {"folds": st.none() | st.integers(2, 4), "limit_per_class": st.none() | st.integers(2, 6), "seed": SEEDS}
)


def sides_by_name(labels, names, groups, options):
    """The side of every image, in an order of images that is that of their classes' names, as in folders."""
    order = np.argsort(np.array(names)[labels], kind="stable")
    every = tuple(sorted(names))
    numbers = np.array([every.index(names[label]) for label in labels[order]], np.int32)
    try:
        unassigned = np.full(len(labels), UNASSIGNED, np.int8)
        splits = make_splits(numbers, unassigned, every, groups[order], SplitOptions(0.1, 0.2, **options))
    except UserError:
        assume(False)
    side = np.empty(len(labels), np.int64)
    side[order] = sides(splits, len(labels))
    return side


@FEW
@given(grouped(), st.sampled_from("aceg"), st.integers(4, 40), OPTIONS)
def test_a_class_that_comes_or_goes_leaves_the_others_where_they_are(data, name, images, options):
    """By folds, limits, and groups too, save those that tie the new class to others."""
    labels, groups = data
    before = sides_by_name(labels, NAMES_OF_CLASSES, groups, options)
    more = np.concatenate([labels, np.full(images, CLASSES, np.int32)])
    new_groups = groups.max() + 1 + np.arange(images) // 2
    after = sides_by_name(more, (*NAMES_OF_CLASSES, name), np.concatenate([groups, new_groups]), options)
    assert np.array_equal(after[: len(labels)], before)


@FEW
@given(labelled(), st.sampled_from("aceg"), OPTIONS)
def test_a_class_that_is_renamed_leaves_the_others_where_they_are(labels, name, options):
    groups = np.arange(len(labels)) // 2 * CLASSES + labels
    before = sides_by_name(labels, NAMES_OF_CLASSES, groups, options)
    after = sides_by_name(labels, ("b", name, "f"), groups, options)
    assert np.array_equal(after[labels != 1], before[labels != 1])


def test_a_class_is_split_alike_however_its_name_is_spelled():
    labels = np.repeat(np.arange(2, dtype=np.int32), 30)
    options = {"seed": 0, "limit_per_class": None}
    one, two = (sides_by_name(labels, (name, "z"), np.arange(60), options) for name in ("B\u00e4r", "ba\u0308R"))
    assert np.array_equal(one, two)


@FEW
@given(st.lists(st.tuples(st.sampled_from("uvwxyz"), st.sampled_from(["", "p", "q", "r"])), max_size=12))
def test_equal_hashes_and_groups_join_whatever_they_touch(images):
    sha256, groups = [image[0] for image in images], [image[1] for image in images]
    numbers = group_ids(sha256, groups)
    joined = np.eye(len(images), dtype=bool)
    for i, (digest, group) in enumerate(images):
        joined[i] |= [digest == d or (group == g != "") for d, g in images]
    for _ in images:  # and whatever those touch
        joined = joined @ joined
    assert np.array_equal(numbers[:, None] == numbers[None], joined)


@pytest.mark.parametrize(("assigned", "side"), [(TEST, 2), (VAL, 1)])
def test_an_unassigned_image_joins_the_split_of_its_group(assigned, side):
    labels = np.repeat(np.arange(3, dtype=np.int32), 20)
    split_of = np.where(np.arange(60) % 5 == 0, assigned, UNASSIGNED)
    groups = np.where(np.arange(60) % 5 == 1, np.arange(60) - 1, np.arange(60))
    side_numbers = sides(splits_of(labels, split_of, groups=groups), 60)
    assert (side_numbers[np.arange(60) % 5 <= 1] == side).all()
    assert (np.bincount(side_numbers, minlength=3) > 0).all()


def test_assigned_splits_are_kept_even_where_a_group_lies_on_both():
    labels = np.repeat(np.arange(3, dtype=np.int32), 20)
    assigned = np.where(np.arange(60) % 5 == 0, TEST, TRAIN)
    splits = splits_of(labels, assigned, groups=np.arange(60) // 5)
    assert np.array_equal(splits.test, np.flatnonzero(assigned == TEST))


def test_assigned_validation_images_are_folded_with_the_training_images():
    labels = np.repeat(np.arange(3, dtype=np.int32), 20)
    assigned = np.where(np.arange(60) % 5 == 0, VAL, TRAIN)
    validated = [splits_of(labels, assigned, folds=2, fold=fold).val for fold in range(2)]
    assert len(np.unique(np.concatenate(validated))) == 60 - 12  # a fifth is test


def test_one_pair_of_equal_images_moves_few_others():
    labels = np.repeat(np.arange(3, dtype=np.int32), 50)
    groups = np.arange(150)
    groups[[7, 23]] = 7
    moved = sides(splits_of(labels), 150) != sides(splits_of(labels, groups=groups), 150)
    assert moved.sum() <= 3


def test_a_class_in_too_few_groups_is_named():
    labels = np.repeat(np.arange(3, dtype=np.int32), 20)
    groups = np.where(labels == 1, 100 + np.arange(60) % 2, np.arange(60))
    error = r"class 'b' has 20 images in 2 groups that stay together, but 3 splits \(train, val, test\) need at least"
    with pytest.raises(UserError, match=error):
        splits_of(labels, groups=groups)


def test_a_class_too_small_for_its_folds_is_named():
    labels = np.repeat(np.arange(3, dtype=np.int32), [20, 5, 20])
    with pytest.raises(UserError, match=r"class 'b' has 5 images, but 5 folds and test need at least one each"):
        splits_of(labels, folds=5)


def test_groups_that_leave_no_way_are_named():
    """Both classes need the third group in another split than the first two, and c's groups are all those."""
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2], np.int32)
    groups = np.array([1, 2, 3, 1, 2, 4, 3, 4, 5])
    with pytest.raises(UserError, match=r"no way was found to bring class '[abc]' into each of 3 splits"):
        splits_of(labels, groups=groups)

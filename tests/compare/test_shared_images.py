"""Runs are compared on the same test images, by content and class, or refused with the numbers."""

import dataclasses

import pytest

from thaw.common.errors import UserError
from thaw.compare.compared_run import ManifestImage, content_keys
from thaw.compare.settings import group_runs
from thaw.compare.shared_images import check_same_classes, find_shared_images

from .made_runs import images, made_run, rights


def pair(test_a: list[ManifestImage], test_b: list[ManifestImage], **of_b):
    a = made_run([True] * len(test_a), run_id="a" * 32, recipe="bottleneck", test=test_a)
    b = made_run([True] * len(test_b), run_id="b" * 32, test=test_b, **of_b)
    return group_runs([a, b])


def test_the_same_content_under_other_names_is_the_same_image() -> None:
    shared = find_shared_images(pair(images(4), images(4, folder="elsewhere")), common=False)
    assert list(shared.images) == ["cat0000", "cat0001", "cat0002", "cat0003"]
    assert shared.remarks == ()


def test_the_same_name_with_other_content_is_another_image() -> None:
    other = [dataclasses.replace(image, sha256=f"other{i}") for i, image in enumerate(images(4))]
    with pytest.raises(UserError, match=r"no test image in common \(bottleneck 4, finetune 4\)"):
        find_shared_images(pair(images(4), other), common=True)


def test_other_test_images_are_refused_with_the_numbers_and_compared_where_common() -> None:
    settings = pair(images(6), images(4) + images(3, label="dog"))
    with pytest.raises(
        UserError, match=r"4 test images in common \(bottleneck 6, finetune 7\)\. images=common compares"
    ):
        find_shared_images(settings, common=False)
    shared = find_shared_images(settings, common=True)
    assert list(shared.images) == ["cat0000", "cat0001", "cat0002", "cat0003"]
    assert shared.remarks == (
        "Compared on the 4 test images that all settings have: 4 test images in common (bottleneck 6, finetune 7).",
    )


def test_an_image_with_another_class_is_no_common_one() -> None:
    relabelled = [dataclasses.replace(image, label="dog") if i == 1 else image for i, image in enumerate(images(4))]
    settings = pair(images(4), relabelled)
    with pytest.raises(UserError, match="of which 1 have another class"):
        find_shared_images(settings, common=False)
    assert list(find_shared_images(settings, common=True).images) == ["cat0000", "cat0002", "cat0003"]


def test_copies_of_an_image_count_as_often_as_there_are() -> None:
    copies = [ManifestImage(f"{name}.jpg", "same", "cat", "test") for name in "cab"]
    assert {key: image.name for key, image in content_keys(copies).items()} == {
        "same": "a.jpg", "same#2": "b.jpg", "same#3": "c.jpg",
    }  # fmt: skip
    assert len(find_shared_images(pair(copies, copies), common=False).images) == 3
    with pytest.raises(UserError, match="2 test images in common"):
        find_shared_images(pair(copies, copies[:2]), common=False)


def test_a_run_without_predictions_has_its_own_images_where_common_ones_count() -> None:
    a, b = made_run(rights("1111"), run_id="a", recipe="scratch"), made_run(rights("1010"), run_id="b", rate=0.1)
    figures_only = made_run(None, run_id="c", recipe="bottleneck", test=images(9))
    settings = group_runs([a, b, figures_only])
    with pytest.raises(UserError, match="4 test images in common"):
        find_shared_images(settings, common=False)
    assert len(find_shared_images(settings, common=True).images) == 4


def test_seeds_that_split_differently_are_told() -> None:
    parts = images(3), images(6)[3:]
    runs = [
        made_run(rights("110"), run_id=f"{recipe}{seed}", recipe=recipe, seed=seed, test=parts[seed])
        for recipe in ("bottleneck", "finetune")
        for seed in (0, 1)
    ]
    settings = group_runs(runs)
    shared = find_shared_images(settings, common=False)
    assert len(shared.images) == 6
    assert shared.shares_right(settings)[0].tolist() == [1, 1, 0, 1, 1, 0]
    assert shared.remarks[0] == (
        "The runs of bottleneck were tested on other images each, as their seeds split or chose them otherwise."
    )


def test_shares_are_of_the_runs_of_a_setting() -> None:
    settings = group_runs([made_run(rights(text), run_id=text, seed=i) for i, text in enumerate(["110", "010", "000"])])
    shared = find_shared_images(settings, common=False)
    assert shared.shares_right(settings)[0].tolist() == pytest.approx([1 / 3, 2 / 3, 0])


def test_the_mean_of_shares_is_the_accuracy_where_test_images_overlap() -> None:
    """Seeds 0 and 1 share an image; the settings have the same seeds, and a third one only the first."""
    parts = {0: images(3), 1: images(5)[2:]}
    right = {("bottleneck", 0): "110", ("bottleneck", 1): "011", ("finetune", 0): "111", ("finetune", 1): "101"}
    runs = [
        made_run(rights(text), run_id=f"{recipe}{seed}", recipe=recipe, seed=seed, test=parts[seed])
        for (recipe, seed), text in right.items()
    ]
    settings = group_runs(runs)
    shares = find_shared_images(settings, common=False).shares_right(settings)
    assert [share.mean() for share in shares] == pytest.approx([4 / 6, 5 / 6])
    settings = group_runs([*runs, made_run([True] * 5, run_id="s", recipe="scratch", test=images(5))])
    shares = find_shared_images(settings, common=False).shares_right(settings)
    assert shares[0].tolist() == [1, 1, 0, 1, 1], "each image once, as another setting had each once"


def test_other_classes_are_refused_by_name() -> None:
    check_same_classes([made_run(rights("1")), made_run(rights("1"), class_names=("dog", "fox", "cat"))])
    with pytest.raises(UserError, match=r"has 3, .* 2; only aaaaaaaa: fox$"):
        check_same_classes([made_run(rights("1")), made_run(rights("1"), run_id="b" * 32, class_names=("cat", "dog"))])
    others = ("cat", "a\nb", *(f"c{i}" for i in range(9)))
    with pytest.raises(UserError, match=r"only aaaaaaaa: dog, fox; only bbbbbbbb: a\\nb, c0, c1, c2, c3 and 5 more$"):
        check_same_classes([made_run(rights("1")), made_run(rights("1"), run_id="b" * 32, class_names=others)])

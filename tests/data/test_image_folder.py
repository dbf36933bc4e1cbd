import os

import numpy as np
import pytest

from thaw.common.errors import UserError
from thaw.config.schema import DatasetConfig
from thaw.data import image_folder
from thaw.data.catalog import TEST, TRAIN, UNASSIGNED, VAL

from .pictures import write_image


def load(path):
    return image_folder.load_catalog(DatasetConfig(name="image_folder", path=str(path)))


def fill(root, *names):
    for name in names:
        write_image(root / name)
    return root


def test_class_folders_become_sorted_labels_and_no_split_is_assigned(tmp_path):
    catalog = load(fill(tmp_path, "dog/2.png", "cat/1.jpg", "dog/10.png"))
    assert catalog.names == ("cat/1.jpg", "dog/10.png", "dog/2.png")
    assert catalog.paths == tuple(str(tmp_path / name) for name in catalog.names)
    assert catalog.class_names == ("cat", "dog")
    assert catalog.labels.tolist() == [0, 1, 1]
    assert catalog.assigned_splits.tolist() == [UNASSIGNED] * 3


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_split_folders_give_their_split(tmp_path, val):
    catalog = load(fill(tmp_path, *(f"{part}/{name}/1.png" for part in ("train", val, "test") for name in "ab")))
    assert list(catalog.names) == sorted(catalog.names)
    assigned = dict(zip(catalog.names, catalog.assigned_splits.tolist(), strict=True))
    assert assigned == {
        f"{part}/{name}/1.png": number
        for part, number in (("train", TRAIN), (val, VAL), ("test", TEST))
        for name in "ab"
    }


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"), ("Train", "TEST"), ("train_images", "test_images"), ("TrainImages", "holdout"),
        ("train2017", "test2017"), ("seg_train", "seg_test"), ("seg_train/seg_train", "seg_test/seg_test"),
        ("train/train", "test1/test1"), ("Training", "Testing"), ("train/images", "test/images"),
    ],
)  # fmt: skip
def test_a_split_folder_is_never_taken_for_a_class(tmp_path, train, test):
    catalog = load(fill(tmp_path, *(f"{part}/{name}/1.png" for part in (train, test) for name in "ab")))
    assert catalog.class_names == ("a", "b")
    assigned = dict(zip(catalog.names, catalog.assigned_splits.tolist(), strict=True))
    assert assigned == {f"{part}/{name}/1.png": n for part, n in ((train, TRAIN), (test, TEST)) for name in "ab"}
    remarks = "".join(catalog.remarks)
    assert f"{train}/ for train" in remarks or train == "train"
    assert f"{test}/ for test" in remarks


@pytest.mark.parametrize(
    "names",
    [
        ("train", "test"), ("train", "test1"), ("training_set", "test_set"), ("train",), ("train2017", "val2017"),
        ("seg_train", "seg_test"), ("train/train", "test1/test1"),
    ],
)  # fmt: skip
def test_split_folders_of_loose_pictures_are_refused_with_the_layout_that_is_needed(tmp_path, names):
    error = refusal(fill(tmp_path, *(f"{name}/cat.{i}.png" for name in names for i in range(3))))
    assert all(f"{name.partition('/')[0]}/" in error for name in names)
    assert "nothing says which class a picture is of" in error
    assert "PATH/train/CLASS/image.jpg" in error
    assert "dataset=csv" in error


@pytest.mark.parametrize("name", ["test", "test1", "train_set", "val", "holdout"])
def test_a_split_folder_beside_class_folders_is_refused_by_name(tmp_path, name):
    error = refusal(fill(tmp_path, "cat/1.png", "dog/1.png", f"{name}/1.png"))
    assert f"holds {name}/, a split by its name, beside cat/, dog/, which are classes" in error
    assert f"put all class folders into {tmp_path / 'train'}" in error
    remedied = [fill(tmp_path / "remedied", f"train/{one}/1.png") for one in ("cat", "dog", name)]
    assert load(remedied[0]).class_names == tuple(sorted(("cat", "dog", name)))


def test_two_splits_beside_class_folders_are_refused_though_a_class_may_be_called_train(tmp_path):
    assert "train/, valid/, splits by their names, beside cat/" in refusal(
        fill(tmp_path, "cat/1.png", "train/1.png", "valid/1.png")
    )
    remedied = [fill(tmp_path / "remedied", f"train/{one}/1.png") for one in ("cat", "train", "valid")]
    assert load(remedied[0]).class_names == ("cat", "train", "valid")


def test_pictures_without_labels_beside_training_classes_are_left_out_and_said(tmp_path):
    fill(tmp_path, "seg_train/seg_train/a/1.png", "seg_train/seg_train/b/1.png", "seg_test/seg_test/a/1.png")
    fill(tmp_path, "seg_test/seg_test/b/1.png", "seg_pred/seg_pred/1.png", "seg_pred/seg_pred/2.png")
    catalog = load(tmp_path)
    assert len(catalog) == 4
    assert "seg_pred/seg_pred/ is not used: its 2 images lie in no class folders" in catalog.remarks[-1]


def test_a_loose_test_folder_is_not_a_test_set(tmp_path):
    catalog = load(fill(tmp_path, "train/a/1.png", "train/b/1.png", "test/1.png"))
    assert catalog.assigned_splits.tolist() == [TRAIN, TRAIN]
    assert catalog.remarks == (
        "test/ is not used: its 1 images lie in no class folders, so nobody says what they show",
    )


def test_loose_training_pictures_beside_a_sorted_test_set_are_refused(tmp_path):
    assert "no class folders in train/" in refusal(fill(tmp_path, "train/1.png", "test/a/1.png", "test/b/1.png"))


def test_one_folder_around_the_splits_is_seen_through_and_said(tmp_path):
    fill(tmp_path, *(f"archive/{part}/{name}/1.png" for part in ("train", "test") for name in "ab"))
    catalog = load(tmp_path)
    assert catalog.names == load(tmp_path / "archive").names
    assert catalog.remarks == (
        f"the only folder in dataset.path holds the splits and is taken: {tmp_path / 'archive'}",
    )


def test_splits_inside_class_folders_are_refused(tmp_path):
    error = refusal(fill(tmp_path, *(f"{name}/{part}/1.png" for part in ("train", "test") for name in "ab")))
    assert f"class folder {tmp_path / 'a'} holds test, train" in error


def test_splits_inside_a_split_are_refused(tmp_path):
    error = refusal(
        fill(tmp_path, *(f"train/{part}/{i}.png" for part in ("train", "val") for i in "12"), "test/a/1.png")
    )
    assert "splits again" in error


def test_an_empty_split_folder_is_refused(tmp_path):
    fill(tmp_path, "train/a/1.png", "train/b/1.png")
    (tmp_path / "val").mkdir()
    assert "also val" in refusal(tmp_path)


def test_train_and_test_alone_are_enough(tmp_path):
    catalog = load(fill(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/1.png"))
    assert sorted(set(catalog.assigned_splits.tolist())) == [TRAIN, TEST]


def test_a_class_may_be_called_train(tmp_path):
    catalog = load(fill(tmp_path, "bus/1.png", "car/1.png", "train/1.png"))
    assert catalog.class_names == ("bus", "car", "train")
    assert catalog.remarks == ("train/ is taken for a class, as its images lie beside those of other classes",)
    assert load(fill(tmp_path / "more", "valid/1.png", "invalid/1.png")).class_names == ("invalid", "valid")


def test_only_visible_pictures_count_whatever_the_case_of_their_ending(tmp_path):
    fill(
        tmp_path,
        "a/1.JPG",
        "b/1.TiFF",
        "a/.hidden.png",
        "a/._1.jpg",
        "a/.thumbs/1.png",
        "__MACOSX/a/1.png",
        ".git/1.png",
    )
    (tmp_path / "a" / "Thumbs.db").write_bytes(b"")
    (tmp_path / "a" / "notes.txt").write_text("")
    assert load(tmp_path).names == ("a/1.JPG", "b/1.TiFF")


def test_what_is_passed_over_is_counted(tmp_path):
    fill(tmp_path, "a/1.png", "b/1.png", "b/sub/2.png", "loose.png", "a/._1.png", "b/.tmp/9.png", "__MACOSX/a.png")
    for name in (".DS_Store", "a/.DS_Store", "b/Thumbs.db", "a/list.txt", "b/LIST.TXT", "b/README", "b/.keep"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "b" / "again").symlink_to(tmp_path / "b")
    assert load(tmp_path).ignored == {
        "images outside class folders": 1, "._ files": 1, "hidden folders": 1, "__MACOSX folders": 1, ".DS_Store": 2,
        "Thumbs.db": 1, ".txt": 2, "files without an ending": 1, "hidden files": 1,
        "links to folders that are read anyway": 1,
    }  # fmt: skip


def test_around_split_folders_it_is_counted_too(tmp_path):
    fill(tmp_path, "train/a/1.png", "train/b/1.png", "train/loose.png", "test/a/1.png", "test/b/1.png", ".git/1.png")
    assert load(tmp_path).ignored == {"images outside class folders": 1, "hidden folders": 1}


def test_pictures_that_cannot_be_read_are_listed_for_the_scan_to_name(tmp_path):
    fill(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "a" / "2.HEIC").write_bytes(b"")
    assert load(tmp_path).names == ("a/1.png", "a/2.HEIC", "b/1.png")


@pytest.mark.parametrize("name", ["my class (1)", "日本\u3000語", "می\u200cخواهم", "a\u00a0b", "👨\u200d👩\u200d👧"])
def test_classes_may_have_any_name_that_is_text(tmp_path, name):
    assert load(fill(tmp_path, f"{name}/line\nbreak ü.png", "zz/1.png")).class_names == tuple(sorted([name, "zz"]))


@pytest.mark.parametrize("name", ["two\nlines", "caf\udce9"])
def test_class_names_that_would_break_reports_are_refused(tmp_path, name):
    assert "not valid text" in refusal(fill(tmp_path, f"{name}/1.png", "b/1.png"))


def test_folders_inside_a_class_may_have_any_name(tmp_path):
    assert len(load(fill(tmp_path, "a/caf\udce9/1.png", "a/two\nlines/2.png", "b/1.png"))) == 3


def test_folders_inside_a_class_belong_to_it(tmp_path):
    catalog = load(fill(tmp_path, "a/2021/summer/1.png", "a/0.png", "b/1.png"))
    assert catalog.names == ("a/0.png", "a/2021/summer/1.png", "b/1.png")
    assert catalog.labels.tolist() == [0, 0, 1]


def test_the_order_on_disk_does_not_matter(tmp_path, monkeypatch):
    fill(tmp_path, *(f"{name}/{sub}/{i}.png" for name in "ab" for sub in "yx" for i in range(5)))
    (tmp_path / "a" / "link").symlink_to(tmp_path / "a" / "y")  # comes before y, so the pictures are link's
    before = load(tmp_path)
    scandir = os.scandir

    class Backwards:
        def __init__(self, path):
            with scandir(path) as entries:
                self.entries = iter(sorted(entries, key=lambda entry: entry.name, reverse=True))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def __iter__(self):
            return self

        def __next__(self):
            return next(self.entries)

        def close(self):
            pass

    monkeypatch.setattr(os, "scandir", Backwards)
    after = load(tmp_path)
    assert after.names == before.names
    assert np.array_equal(after.labels, before.labels)


def test_links_in_a_circle_are_walked_once(tmp_path):
    fill(tmp_path, "a/1.png", "a/sub/2.png", "b/1.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "sub" / "up").symlink_to(tmp_path)  # would bring all of b into a
    assert load(tmp_path).names == ("a/1.png", "a/sub/2.png", "b/1.png")


@pytest.mark.parametrize("part", ["", "train/"])
def test_links_that_lead_nowhere_or_up_are_no_classes(tmp_path, part):
    fill(tmp_path, f"{part}a/1.png", f"{part}b/1.png")
    for name, target in (("self", "self"), ("round.png", "round.png"), ("dot", "."), ("top", tmp_path.parent)):
        (tmp_path / part / name).symlink_to(target)
    catalog = load(tmp_path)
    assert catalog.class_names == ("a", "b")
    assert catalog.ignored == {"links in a circle": 2, "links to folders that are read anyway": 2}


def test_a_link_in_a_circle_alone_is_too_little(tmp_path):
    (tmp_path / "self.png").symlink_to("self.png")
    assert "holds no class folders; at least two" in refusal(tmp_path)


def test_a_class_may_be_a_link(tmp_path):
    fill(tmp_path, "far/x/1.png", "data/b/1.png")
    (tmp_path / "data" / "a").symlink_to(tmp_path / "far")
    assert load(tmp_path / "data").names == ("a/x/1.png", "b/1.png")


def test_a_relative_path_gives_absolute_paths(tmp_path, monkeypatch):
    fill(tmp_path, "photos/a/1.png", "photos/b/1.png")
    monkeypatch.chdir(tmp_path)
    assert load("photos").paths[0] == str(tmp_path / "photos/a/1.png")


def refusal(path):
    with pytest.raises(UserError) as caught:
        load(path)
    return str(caught.value)


def test_a_path_must_be_given():
    with pytest.raises(UserError, match=r"needs dataset\.path=PATH"):
        image_folder.load_catalog(DatasetConfig(name="image_folder"))


def test_a_missing_path_is_named(tmp_path):
    assert f"dataset.path={tmp_path / 'gone'} does not exist" in refusal(tmp_path / "gone")


def test_a_file_is_no_folder(tmp_path):
    assert "is a file" in refusal(write_image(tmp_path / "a.png"))


def test_one_class_is_too_few(tmp_path):
    assert "holds one class folder (a)" in refusal(fill(tmp_path, "a/1.png"))


def test_a_folder_around_the_dataset_is_seen_through(tmp_path):
    assert f"Did you mean dataset.path={tmp_path / 'photos'}?" in refusal(
        fill(tmp_path, "photos/a/1.png", "photos/b/1.png")
    )


def test_loose_images_are_mentioned_when_there_are_no_classes(tmp_path):
    assert "no class folders and 2 images that lie loose (1.png, ...)" in refusal(fill(tmp_path, "1.png", "2.png"))


def test_an_empty_class_is_named_with_what_it_holds_instead(tmp_path):
    fill(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "1.txt").write_bytes(b"")
    (tmp_path / "void").mkdir()
    error = refusal(tmp_path)
    assert "phone: only 1 files of other kinds: 1.txt" in error
    assert "void: it is empty" in error


def test_a_class_that_training_lacks_is_refused(tmp_path):
    error = refusal(fill(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.png", "test/c/1.png"))
    assert f"{tmp_path / 'train'} lacks classes that other splits have: c. " in error


def test_validation_and_test_folders_may_lack_classes(tmp_path):
    fill(tmp_path, "train/a/1.png", "train/b/1.png", "train/c/1.png", "val/a/1.png", "test/c/1.png")
    (tmp_path / "val" / "b").mkdir()
    catalog = load(tmp_path)
    assert catalog.class_names == ("a", "b", "c")
    assert catalog.labels[catalog.assigned_splits == VAL].tolist() == [0]
    assert catalog.labels[catalog.assigned_splits == TEST].tolist() == [2]
    (tmp_path / "val" / "b" / "1.npy").write_bytes(b"")
    assert "val/b: only 1 files of other kinds" in refusal(tmp_path)


def test_two_folders_for_one_split_are_refused(tmp_path):
    error = refusal(fill(tmp_path, *(f"{part}/{name}/1.png" for part in ("train", "val", "valid") for name in "ab")))
    assert "val, valid" in error


def test_strangers_beside_split_folders_are_refused(tmp_path):
    error = refusal(fill(tmp_path, *(f"{part}/{name}/1.png" for part in ("train", "test", "extra") for name in "ab")))
    assert "also extra" in error


def test_prediction_finds_what_training_lists(tmp_path):
    from thaw.tools.predict import find_images

    fill(tmp_path, "a/1.png", "b/2.JPG", "b/.hidden.png", "__MACOSX/1.jpg", "b/@eaDir/2.jpg", "a/._1.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "3.heic").write_bytes(b"")
    (tmp_path / "a" / "notes.txt").write_bytes(b"")
    assert find_images(str(tmp_path)) == sorted(load(tmp_path).paths)


@pytest.mark.parametrize(
    ("one", "other"), [("Cat", "cat"), ("cat ", "cat"), ("Bär", "ba\u0308r"), ("STRASSE", "straße")]
)
@pytest.mark.parametrize("parents", [("", ""), ("train/", "train/"), ("train/", "test/")])
def test_class_folders_that_differ_only_in_spelling_are_one_error(tmp_path, one, other, parents):
    paths = [f"{parent}{name}" for parent, name in zip(parents, (one, other), strict=True)]
    more = [f"{parent}dog" for parent in parents]
    error = refusal(fill(tmp_path, *(f"{path}/1.png" for path in [*paths, *more])))
    assert "names of classes that differ only in case, outer spaces or Unicode form" in error
    assert all(f"'{name}'" in error for name in (one, other))
    assert all(f"({path})" in error for path in paths)
    assert "Give the folders of a class one name" in error


def test_class_names_in_two_unicode_forms_are_told_apart_in_the_error(tmp_path):
    error = refusal(fill(tmp_path, "Ba\u0308r/1.png", "B\u00e4r/1.png"))
    assert "'Ba\\u0308r' (Ba\u0308r) and 'B\\xe4r' (B\u00e4r)" in error


def test_spaces_around_a_class_folders_name_do_not_count_as_in_a_table(tmp_path):
    catalog = load(fill(tmp_path, "train/ cat/1.png", "train/dog/1.png", "test/ cat/2.png", "test/dog/2.png"))
    assert catalog.class_names == ("cat", "dog")
    assert dict(zip(catalog.names, catalog.labels.tolist(), strict=True))["train/ cat/1.png"] == 0
    assert "not valid text" in refusal(fill(tmp_path / "blank", " /1.png", "dog/1.png"))

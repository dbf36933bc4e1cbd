import pytest

from thaw.data.catalog import TEST, TRAIN, VAL
from thaw.data.split_names import UNLABELLED, has_several_splits, is_decoration, match_split_names, may_be_class_name


@pytest.mark.parametrize(
    ("names", "number"),
    [
        ("train Train TRAIN training Training_set train_images TrainImages trainset train2017 x_train", TRAIN),
        ("train_224x224 images_train trainval train-data Train_Data_Set training(1) train_public", TRAIN),
        ("val valid Validation VALID val2017 valid_set dev devset eval Evaluation", VAL),
        ("test TEST test1 Testing test_set test-images testset holdout hold-out hold_out_set test_public", TEST),
        ("pred predictions unlabeled Unlabelled_images", UNLABELLED),
    ],
)  # fmt: skip
def test_usual_names_of_splits_are_recognised_in_any_case_and_decoration(names, number):
    for name in names.split():
        assert match_split_names([name]) == {name: number}


@pytest.mark.parametrize(
    "name",
    [
        "cat",
        "trains",
        "latest",
        "contest",
        "freight_train",
        "crash_test",
        "devices",
        "images",
        "set",
        "2017",
        "日本",
        "_",
    ],
)
def test_other_names_are_none(name):
    assert match_split_names([name, "bus"]) == {}


@pytest.mark.parametrize(
    "names",
    [
        ("seg_train", "seg_test", "seg_pred"),
        ("pets-train-jpg", "pets-test-jpg"),
        ("food_train_v2", "food_test_v2"),
        ("GTSRB_Final_Training_Images", "GTSRB_Final_Test_Images"),
        ("DIV2K_train_HR", "DIV2K_valid_HR"),
        ("a_train_b", "a_test_b"),
        ("cattrain", "cattest"),
        ("asl_alphabet_train", "asl_alphabet_test"),
        ("ILSVRC2012_img_train", "ILSVRC2012_img_val"),
        ("train_cats", "test_cats"),
        ("coco_train2017", "coco_val2017"),
    ],
)
def test_another_word_counts_where_two_splits_share_it(names):
    assert set(match_split_names([*names, "other"])) == set(names)
    assert has_several_splits(names)
    assert match_split_names(names[:1]) == {}


def test_split_words_in_all_names_are_splits_whatever_else_the_names_hold():
    for names in (("train_HR", "valid_LR"), ("train_final_v2", "test_final"), ("ＴＲＡＩＮ", "ＴＥＳＴ")):
        assert set(match_split_names(names)) == set(names)
        assert has_several_splits(names)
    assert match_split_names(("freight_train", "passenger_train", "bus")) == {}
    assert match_split_names(("protest", "contest", "train_station")) == {}


def test_eval_tests_beside_a_validation_set_and_validates_otherwise():
    assert match_split_names(["training", "validation", "evaluation"])["evaluation"] == TEST
    assert match_split_names(["train", "eval", "test"])["eval"] == VAL
    assert match_split_names(["train", "eval"])["eval"] == VAL


def test_only_ordinary_words_may_be_classes_too():
    assert all(map(may_be_class_name, ("train", "Training", "valid")))
    assert not any(map(may_be_class_name, ("test", "train_set", "train1", "val")))


def test_decorations_alone_are_no_splits():
    assert is_decoration("images")
    assert not is_decoration("cats")
    assert not is_decoration("")

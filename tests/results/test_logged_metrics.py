"""What the store gets when a run has trained, and what the losses in it mean."""

import math

from thaw.config.schema import Config, HeadConfig, TrainConfig
from thaw.results.logged_metrics import MAX_LOGGED_CLASSES, best_epoch_metrics, logged_metrics, val_loss_meaning

HISTORY = [
    {"stage": "head", "epoch": 1, "val_loss": 0.9, "val_accuracy": 0.5},
    {"stage": "head", "epoch": 2, "val_loss": 0.7, "val_accuracy": 0.8},
    {"stage": "thaw", "epoch": 3, "val_loss": 0.6, "val_accuracy": 0.7},
    {"stage": "thaw", "epoch": 4, "val_loss": math.nan, "val_accuracy": 0.9},
]
METRICS = {"test/accuracy": 0.7, "test/class/a/f1": 0.5, "val/class/a/recall": math.nan}


def test_the_best_epoch_is_that_of_the_lowest_validation_loss_over_all_stages() -> None:
    assert best_epoch_metrics(HISTORY) == {"best/epoch": 3, "best/val_loss": 0.6, "best/val_accuracy": 0.7}
    assert best_epoch_metrics(HISTORY[:2])["best/epoch"] == 2
    assert best_epoch_metrics(HISTORY[3:]) == {}
    assert best_epoch_metrics([]) == {}


def test_the_objective_of_a_best_epoch_has_a_name_of_its_own() -> None:
    history = [{**entry, "val_cross_entropy": 0.1} for entry in HISTORY]
    assert best_epoch_metrics(history) == {"best/epoch": 3, "best/val_objective": 0.6, "best/val_accuracy": 0.7}


def test_what_is_no_number_is_not_logged() -> None:
    logged = logged_metrics(METRICS, HISTORY, classes=2)
    assert logged == {"test/accuracy": 0.7, "test/class/a/f1": 0.5, **best_epoch_metrics(HISTORY)}


def test_hundreds_of_classes_do_not_bury_the_other_charts() -> None:
    assert "test/class/a/f1" in logged_metrics(METRICS, HISTORY, MAX_LOGGED_CLASSES)
    assert set(logged_metrics(METRICS, HISTORY, MAX_LOGGED_CLASSES + 1)) == {
        "test/accuracy", "best/epoch", "best/val_loss", "best/val_accuracy",
    }  # fmt: skip


def test_the_validation_loss_says_what_it_is() -> None:
    same = val_loss_meaning(Config(head=HeadConfig(label_smoothing=0.1)))
    assert same.startswith("The validation loss of an epoch, epoch/val_loss, is what val/loss is: the mean cross-ent")
    assert val_loss_meaning(Config(train=TrainConfig(val_loss="objective"))) == same, "nothing is smoothed"
    other = val_loss_meaning(Config(head=HeadConfig(label_smoothing=0.1), train=TrainConfig(val_loss="objective")))
    assert "label smoothing 0.1" in other
    assert "epoch/val_cross_entropy and val/loss are the mean cross-entropy" in other

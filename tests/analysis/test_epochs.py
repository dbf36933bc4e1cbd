from thaw.analysis.epochs import LowestLoss, best_epochs


def entry(stage: str, epoch: int, val_loss: float | None, **more: float) -> dict[str, object]:
    return {"stage": stage, "epoch": epoch, "val_loss": val_loss, **more}


def test_each_stage_has_the_epoch_of_its_lowest_validation_loss() -> None:
    history = [
        entry("head", 1, 0.9, val_accuracy=0.6),
        entry("head", 2, 0.5, val_accuracy=0.8),
        entry("head", 3, 0.5, val_accuracy=0.9),  # not lower: the first stays
        entry("finetune", 4, 0.7, val_accuracy=0.7),
        entry("finetune", 5, 0.4, val_accuracy=0.85),
    ]
    assert best_epochs(history) == [LowestLoss("head", 2, 0.5, 0.8), LowestLoss("finetune", 5, 0.4, 0.85)]


def test_epochs_without_a_validation_loss_are_skipped() -> None:
    history = [
        {"stage": "head", "epoch": 1, "loss": 0.1},
        entry("finetune", 2, None),
        entry("finetune", 3, float("nan")),
        entry("finetune", 4, 0.7),
    ]
    assert best_epochs(history) == [LowestLoss("finetune", 4, 0.7, None)]
    assert best_epochs([]) == []

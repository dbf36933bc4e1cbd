"""What each recipe does, as a list of stages. Plans only: no TensorFlow."""

from dataclasses import dataclass, replace
from typing import Any

from thaw.config.effects import takes_head_optimizer
from thaw.config.schema import Config, OptimizerConfig, StageConfig


@dataclass(frozen=True)
class TrainingStage:
    """One stage of training.

    number: 0-based place in the run. freeze: the request, as in finetune.freeze. first_epoch: epochs before it, so
    that all stages share one axis.
    """

    number: int
    name: str
    freeze: Any
    batchnorm: str
    epochs: int
    first_epoch: int
    optimizer: OptimizerConfig


def plan_recipe(config: Config) -> list[TrainingStage]:
    """Return the recipe's stages, in order."""
    return {"scratch": scratch, "bottleneck": bottleneck, "finetune": finetune}[config.recipe](config)


def runs_images_every_epoch(config: Config) -> bool:
    """Whether training needs pixels in every epoch; else frozen activations take their place after the first."""
    if config.recipe == "scratch":
        return True
    return config.augment.active and not config.cache.views


def scratch(config: Config) -> list[TrainingStage]:
    """Everything trains, BatchNorm statistics too: there is nothing pretrained to keep."""
    return [TrainingStage(0, "scratch", "none", "trainable", config.scratch.epochs, 0, config.optimizer)]


def bottleneck(config: Config) -> list[TrainingStage]:
    """Every image runs through the frozen backbone once; the head trains on the features."""
    return [TrainingStage(0, "bottleneck", "all", "frozen", config.bottleneck.epochs, 0, config.optimizer)]


def finetune(config: Config) -> list[TrainingStage]:
    """The head with everything frozen, so that its first steps do not wreck the backbone; then thaw from the boundary.

    `finetune.stages` replaces both, for gradual unfreezing (ULMFiT, arXiv 1801.06146).
    """
    own = config.finetune
    planned = own.stages or [
        StageConfig(name="head", freeze="all", epochs=own.head_epochs),
        StageConfig(name="thaw", freeze=own.freeze, epochs=own.epochs),
    ]
    result, epochs = [], 0
    for number, stage in enumerate(planned):
        shared = own.head_optimizer if takes_head_optimizer(number, planned) else config.optimizer
        optimizer = stage.optimizer or shared
        if stage.learning_rate is not None:
            optimizer = replace(optimizer, learning_rate=stage.learning_rate)
        result.append(TrainingStage(number, stage.name, stage.freeze, own.batchnorm, stage.epochs, epochs, optimizer))
        epochs += stage.epochs
    return result

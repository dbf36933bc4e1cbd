"""The recipes: scratch, bottleneck and finetune as lists of training stages. No TensorFlow."""

import math
from dataclasses import dataclass, replace
from typing import Any

from thaw.common.errors import UserError
from thaw.config.key_conflicts import takes_head_optimizer
from thaw.config.schema import AUTO_RATE, AUTO_STEPS, Config, OptimizerConfig, StageConfig
from thaw.models import backbone_table

HEAD_EPOCHS = 3  # of stage head where finetune.head_epochs is not given
# Of stage thaw where finetune.epochs is not given.
_FEWEST_EPOCHS, _MOST_EPOCHS = 4, 30
# With finetune.steps=auto. An image of a smaller side costs fewer operations, in proportion to its area: what is saved
# is taken for more steps and epochs, up to twice as many.
_AUTO_STEPS, _AUTO_SIDE, _MOST_TIMES = 400, 224, 2.0


@dataclass(frozen=True)
class TrainingStage:
    """One stage of training.

    number: 0-based, in the run. freeze: the request, as in finetune.freeze. first_epoch: how many epochs earlier stages
    have, so that all stages share one axis. freeze_key: the config key that the request was given with. solved: the
    head is solved for, in one step, which is the stage's one epoch. rate_found: the optimizer's rate is one that a
    range test found.
    """

    number: int
    name: str
    freeze: Any
    batchnorm: str
    epochs: int
    first_epoch: int
    optimizer: OptimizerConfig
    freeze_key: str = "finetune.freeze"
    solved: bool = False
    rate_found: bool = False

    @property
    def finds_rate(self) -> bool:
        """Whether a range test is still to find the rate."""
        return not self.solved and self.optimizer.learning_rate == AUTO_RATE

    @property
    def method(self) -> str:
        """What trains, as it is printed when the stage begins."""
        if self.solved:
            return "logistic regression"
        rate = self.optimizer.learning_rate
        return f"{self.optimizer.name} {rate}" if self.finds_rate else f"{self.optimizer.name} {rate:g}"

    def with_found_rate(self, rate: float) -> "TrainingStage":
        """Return the stage with the rate that a range test found."""
        return replace(self, optimizer=replace(self.optimizer, learning_rate=rate), rate_found=True)


def plan_recipe(config: Config, images: int) -> list[TrainingStage]:
    """Return the recipe's stages, in order; images: that train in an epoch.

    Of stages in a row for which a head is solved, on a network that is frozen as a whole, there is one.
    """
    if config.recipe == "finetune":
        stages = finetune(config, images)
    else:
        stages = {"scratch": scratch, "bottleneck": bottleneck}[config.recipe](config)
    if config.head.name != "logistic":
        return stages
    planned: list[TrainingStage] = []
    for stage in stages:
        if str(stage.freeze) == "all":
            if planned and planned[-1].solved:  # the same features would have the same solution
                continue
            stage = replace(stage, epochs=1, solved=True)
        first_epoch = sum(earlier.epochs for earlier in planned)
        planned.append(replace(stage, number=len(planned), first_epoch=first_epoch))
    return planned


def runs_images_every_epoch(config: Config) -> bool:
    """Whether training reads pixels in every epoch; otherwise cached activations replace them after the first."""
    if config.recipe == "scratch":
        return True
    return config.augment.active and not config.cache.views


def scratch(config: Config) -> list[TrainingStage]:
    """Train everything in one stage, BatchNorm statistics too: nothing is pretrained."""
    return [TrainingStage(0, "scratch", "none", "trainable", config.scratch.epochs, 0, config.optimizer)]


def bottleneck(config: Config) -> list[TrainingStage]:
    """Freeze the whole backbone, so that each image runs through it once; the head trains on the cached features."""
    return [TrainingStage(0, "bottleneck", "all", "frozen", config.bottleneck.epochs, 0, config.optimizer)]


def thaw_epochs(config: Config, images: int) -> int:
    """Return the epochs of stage thaw: those given, or those of about `finetune.steps` steps with so many images.

    Raises UserError where these end within the warm-up.
    """
    if config.finetune.epochs is not None:
        return config.finetune.epochs
    steps = -(-images // config.train.batch_size)
    wanted, fewest = _thaw_length(config)
    epochs = min(_MOST_EPOCHS, max(fewest, round(wanted / steps)))
    if (warmup := config.optimizer.warmup_epochs or 0.0) >= epochs:
        raise UserError(
            f"optimizer.warmup_epochs={warmup:g} is no shorter than stage thaw, to which {images:,} images give "
            f"{epochs} epochs of {steps:,} steps: set a shorter warm-up, or finetune.epochs"
        )
    return epochs


def _thaw_length(config: Config) -> tuple[float, int]:
    """Return about how many steps stage thaw is to take, and the epochs that it has at least."""
    if config.finetune.steps != AUTO_STEPS:
        return float(config.finetune.steps), _FEWEST_EPOCHS
    cheaper = (_AUTO_SIDE / backbone_table.input_size(config.backbone)) ** 2
    times = min(max(cheaper, 1.0), _MOST_TIMES)
    return _AUTO_STEPS * times, math.floor(_FEWEST_EPOCHS * times)


def finetune(config: Config, images: int) -> list[TrainingStage]:
    """Train the head first, so that its first steps do not wreck the backbone; then thaw the layers from the boundary.

    `finetune.stages` replaces both stages, for gradual unfreezing (ULMFiT, arXiv 1801.06146).
    """
    options = config.finetune
    configs = options.stages or [
        StageConfig(name="head", freeze="all", epochs=options.head_epochs or HEAD_EPOCHS),
        StageConfig(name="thaw", freeze=options.freeze, epochs=thaw_epochs(config, images)),
    ]
    stages, epochs = [], 0
    for number, stage in enumerate(configs):
        default = options.head_optimizer if takes_head_optimizer(number, configs) else config.optimizer
        optimizer = stage.optimizer or default
        if stage.learning_rate is not None:
            optimizer = replace(optimizer, learning_rate=stage.learning_rate)
        key = f"finetune.stages[{number}].freeze" if options.stages else "finetune.freeze"
        stages.append(
            TrainingStage(number, stage.name, stage.freeze, options.batchnorm, stage.epochs, epochs, optimizer, key)
        )
        epochs += stage.epochs
    return stages

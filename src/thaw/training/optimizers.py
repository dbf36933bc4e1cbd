"""Optimizers by name, and the learning rate of every step."""

import math
from typing import Any

from thaw.config.schema import OptimizerConfig


def build_optimizer(config: OptimizerConfig) -> Any:
    """Return a new Keras optimizer; what is null in the config keeps Keras's default."""
    import keras

    classes = {
        "sgd": keras.optimizers.SGD,
        "rmsprop": keras.optimizers.RMSprop,
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
    }
    arguments: dict[str, Any] = {"learning_rate": config.learning_rate}
    if config.momentum is not None and config.name in ("sgd", "rmsprop"):
        arguments["momentum"] = config.momentum
    if config.name == "sgd":
        arguments["nesterov"] = config.nesterov
    if config.weight_decay is not None:
        arguments["weight_decay"] = config.weight_decay
    optimizer = classes[config.name](**arguments)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])  # decay is for kernels only
    return optimizer


def scheduled_learning_rate(config: OptimizerConfig, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Return the rate at a step, 0-based over the whole stage: linear warm-up, then constant or half a cosine to zero.

    A function of counters only, so that a resumed stage has the same rates. schedule=plateau counts as constant here:
    Keras's callback lowers the rate.
    """
    warmup = round(config.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "cosine":
        cosine_steps = max(1, steps_per_epoch * epochs - warmup)
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / cosine_steps)))
    return config.learning_rate

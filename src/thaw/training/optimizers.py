"""Optimizers by name, and the learning rate of every step."""

import math
from collections.abc import Mapping
from typing import Any

from thaw.config.schema import OptimizerConfig

# one_cycle: share of the steps in which the rate rises, and from which part of it (Smith, arXiv 1708.07120; fastai's)
_RISE, _START = 0.25, 1 / 25


def build_optimizer(config: OptimizerConfig, factors: Mapping[int, float] | None = None) -> Any:
    """Return a new Keras optimizer; what is null in the config keeps Keras's default.

    factors: by the id of a variable, what its learning rate is multiplied by; 1 where it has none. Weight decay is that
    of the whole rate.
    """
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
    if config.clip_norm is not None:
        arguments["global_clipnorm"] = config.clip_norm
    chosen = classes[config.name]
    if factors:
        chosen = _with_factors(chosen, factors)
    if config.ema is not None:
        chosen = _with_average_beside(chosen)
        arguments |= {"use_ema": True, "ema_momentum": config.ema}
    optimizer = chosen(**arguments)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])  # decay is for kernels only
    return optimizer


def _with_factors(optimizer_class: Any, factors: Mapping[int, float]) -> Any:
    """Return a class of the optimizer whose variables learn at rates of their own."""

    class WithFactors(optimizer_class):
        def build(self, variables: list[Any]) -> None:
            super().build(variables)
            self._factors = tuple(factors.get(id(variable), 1.0) for variable in variables)

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            factor = self._factors[self._get_variable_index(variable)]
            super().update_step(gradient, variable, learning_rate * factor)

    WithFactors.__name__ = optimizer_class.__name__  # names the optimizer's variables, in checkpoints too
    return WithFactors


def _with_average_beside(optimizer_class: Any) -> Any:
    """Return a class of the optimizer that leaves its moving average beside the weights: see `averaged_weights`."""

    class WithAverageBeside(optimizer_class):
        def finalize_variable_values(self, var_list: list[Any]) -> None:
            """Keep the weights: Keras calls this wherever a `fit` ends, which need not be the stage's end."""

    WithAverageBeside.__name__ = optimizer_class.__name__  # as above
    return WithAverageBeside


def scheduled_learning_rate(config: OptimizerConfig, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Return the rate at a step, 0-based over the whole stage: linear warm-up, then constant or half a cosine to zero.

    one_cycle rises along half a cosine, from a 25th of the rate, instead of the warm-up.

    A function of counters only, so that a resumed stage has the same rates. schedule=plateau counts as constant here:
    Keras's callback lowers the rate.
    """
    if config.schedule == "one_cycle":
        return config.learning_rate * _one_cycle(step / max(1, steps_per_epoch * epochs - 1))
    warmup = warmup_steps(config, steps_per_epoch, epochs)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "cosine":
        cosine_steps = max(1, steps_per_epoch * epochs - warmup)
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / cosine_steps)))
    return config.learning_rate


def warmup_steps(config: OptimizerConfig, steps_per_epoch: int, epochs: int) -> int:
    """Return over how many steps of a stage the rate rises."""
    given = config.warmup_epochs
    return round(steps_per_epoch * (config.warmup_ratio * epochs if given is None else given))


def _one_cycle(done: float) -> float:
    """Return the share of the peak rate after a share of the stage's steps."""
    if done < _RISE:
        return _START + (1 - _START) * 0.5 * (1 - math.cos(math.pi * done / _RISE))
    return 0.5 * (1 + math.cos(math.pi * (done - _RISE) / (1 - _RISE)))

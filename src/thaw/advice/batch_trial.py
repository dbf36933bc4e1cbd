"""Tries growing batch sizes of a stage: memory and speed of some training steps each."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median
from typing import TYPE_CHECKING

from thaw.common import memory
from thaw.common.console import say
from thaw.common.errors import UserError
from thaw.training import batch_choice
from thaw.training.batch_choice import BatchFigures

if TYPE_CHECKING:
    from thaw.extract.prepared_run import PreparedRun
    from thaw.training.stage_plans import PlannedStage

_STEPS = 2  # that are timed, behind one that traces the function


def try_batches(
    prepared: PreparedRun,
    stage: PlannedStage,
    limit: float,
    seconds: float,
    report: Callable[[list[BatchFigures], int], None],
) -> None:
    """Try batches of 8, 16, 32 ... images, as far as memory, images and time go, and report memory and speed of each.

    A size is tried if the two before it say that its memory is there. Where that was wrong, the process reports the
    sizes before and ends before the kernel kills it.

    Args:
        prepared: the run.
        stage: that is trained.
        limit: bytes that the process may have.
        seconds: that the trial may take.
        report: called with the figures of two sizes or more, and the most images that a batch may have.

    Raises:
        UserError: not even two sizes could be tried.
    """
    import tensorflow as tf

    from thaw.models import freeze
    from thaw.models.network import cut_at, divide_network
    from thaw.training.timed_steps import timed_steps

    network, inputs, images = prepared.network, prepared.inputs, len(prepared.data.splits.train)
    freeze.set_trainable(network.backbone.layers, stage.plan.boundary)
    parts = divide_network(network, stage.plan, cut_at(network, stage.cut.index), inputs.choice.training_step)
    figures: list[BatchFigures] = []
    started, size, most = time.monotonic(), batch_choice.SMALLEST, images

    def exhausted() -> None:
        _say_exhausted(size)
        _end_process(lambda: report(_enough(figures, images), size - 1))

    watch = nullcontext() if math.isinf(limit) else memory.watched(batch_choice.MEMORY_SHARE, exhausted)
    with timed_steps(parts, stage.stage.optimizer, inputs.choice, prepared.data.seed) as step, watch:
        while size <= images and _may_be_tried(figures, size, limit, seconds - (time.monotonic() - started)):
            try:
                figures.append(_figures(step, size))
            except tf.errors.ResourceExhaustedError:
                _say_exhausted(size)
                most = size - 1
                break
            say(f"  {size:,} images: {figures[-1].images_per_second:.0f} images/s · {figures[-1].nbytes / 1e9:.2f} GB")
            size *= 2
    report(_enough(figures, images), most)


def _enough(figures: list[BatchFigures], images: int) -> list[BatchFigures]:
    if len(figures) >= 2:
        return figures
    raise UserError(
        f"batches of {batch_choice.SMALLEST} and {2 * batch_choice.SMALLEST} images could not both be tried, "
        f"with {images:,} training images and the memory of this machine: train with fewer, or with smaller ones "
        "(backbone.image_size)"
    )


def _say_exhausted(size: int) -> None:
    say(f"  {size:,} images: out of memory")


def _end_process(finish: Callable[[], None]) -> None:
    """Finish, and end the process from a thread that is not its first: that one computes, and cannot be interrupted."""
    code = 1
    try:
        finish()
        code = 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    finally:  # whatever failed, the process must not wait for the kernel
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _may_be_tried(figures: list[BatchFigures], size: int, limit: float, seconds: float) -> bool:
    if len(figures) < 2:
        return True
    needed = (1 + _STEPS) * size / figures[-1].images_per_second
    return needed <= seconds and batch_choice.expected_bytes(figures, size) <= batch_choice.MEMORY_SHARE * limit


def _figures(step: Callable[[int], float], size: int) -> BatchFigures:
    step(size)
    seconds = median(step(size) for _ in range(_STEPS))
    return BatchFigures(size, size / seconds, _peak_bytes())


def memory_limit() -> float:
    """Return the bytes that training may take; infinite on a GPU, which tells when it has no more."""
    import tensorflow as tf

    return math.inf if tf.config.list_physical_devices("GPU") else memory.available_bytes()


def _peak_bytes() -> int:
    """Return the most memory that training has taken: of the first GPU if there is one, else of the process."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    return memory.peak_bytes()

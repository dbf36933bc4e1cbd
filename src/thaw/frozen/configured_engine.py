"""The engine that a run's config asks for, on this machine."""

import dataclasses

from thaw.common import environment, tensorflow_setup
from thaw.common.hardware import detect_hardware, detect_processor
from thaw.config.schema import Config
from thaw.frozen.engine import EngineChoice, check_engine, choose_engine
from thaw.models import backbone_table


def check_supported(config: Config) -> None:
    """Refuse what backbone or machine cannot do, before the data is read and TensorFlow imported."""
    environment.check_variables()
    backbone_table.check_backbone(config.backbone)
    check_engine(config.engine, config.precision, config.frozen_precision, detect_processor())


def is_draft(config: Config) -> bool:
    """Return whether a run is a draft; recipe=scratch freezes nothing, and is the same with auto."""
    return config.precision == "draft" and config.recipe != "scratch"


def configured_engine(config: Config, *, draft: bool, devices: int = 1) -> tuple[EngineChoice, list[str]]:
    """Return the engine with its precisions, and lines on it and on what this machine lacks. Imports TensorFlow.

    draft: the run was asked for as a draft; of a resumed one `config` has the precisions that were chosen for it.
    devices: that training is spread over.

    Raises:
        UserError: this machine cannot do what was requested.
    """
    tensorflow_setup.import_tensorflow()
    hardware = detect_hardware()
    training_step = config.training_step
    if config.distribute != "none" and training_step == "auto":
        training_step = "keras"  # the folded step's kernels are for CPUs
    choice = choose_engine(
        config.engine,
        config.precision if draft or config.precision != "draft" else "auto",
        config.frozen_precision,
        depthwise=backbone_table.backbone_spec(config.backbone.name).depthwise,
        trains_backbone=config.recipe != "bottleneck",
        hardware=hardware,
        deterministic=config.deterministic,
        training_step=training_step,
    )
    choice = dataclasses.replace(choice, draft=draft, devices=devices)
    lines = [f"engine: {choice.summary()}"]
    if note := hardware.unused_gpu_note():
        lines.append(note)
    if choice.frozen == "int8" and not hardware.int8:
        lines.append(
            "note: this processor has no instructions for products of bytes (VNNI, AMX): int8 may be no faster here"
        )
    return choice, lines

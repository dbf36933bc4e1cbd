"""Pooled features of a frozen backbone, cached in the same rows as those of recipe=bottleneck; not in int8.

In int8 the backbone is quantised on the images that are explored, and a run's on its training images.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from thaw.cache import DiskCache
from thaw.common import tensorflow_setup
from thaw.common.console import progress, say
from thaw.common.errors import UserError
from thaw.common.hardware import detect_hardware, detect_processor
from thaw.config.schema import HeadConfig
from thaw.config.tool_schemas import ExploreConfig
from thaw.data.catalog import IntArray
from thaw.data.pixels import Pixels
from thaw.frozen import engine, quantization
from thaw.frozen.activation_rows import BATCH_SIZE
from thaw.frozen.activations import FrozenPart, build_frozen_part, round_as_stored
from thaw.frozen.batch_runner import prefetch
from thaw.models import backbone_table


def check_supported(config: ExploreConfig) -> None:
    """Raise UserError for what this machine cannot compute, and for a backbone with random weights.

    The features of random weights say nothing about similarity.
    """
    engine.check_engine(config.engine, *_precisions(config), detect_processor())
    backbone_table.check_backbone(config.backbone)
    if config.backbone.weights == "none":
        raise UserError(
            f"backbone={config.backbone.name} with backbone.weights=none has random weights: pictures are compared by "
            "what a pretrained backbone sees in them. Use imagenet or a weights file"
        )


def _precisions(config: ExploreConfig) -> tuple[str, str]:
    """Return `precision` and `frozen_precision` of a run that computes its frozen layers so."""
    return ("draft", "auto") if config.precision == "draft" else ("auto", config.precision)


def pooled_features(
    config: ExploreConfig, pixels: Pixels, indices: IntArray, store: DiskCache, deterministic: bool | None = True
) -> npt.NDArray[np.float32]:
    """Return the features of images, float32 (len(indices), D), from the cache if they are there.

    indices: ascending, into the catalog.
    """
    frozen = _frozen_backbone(config, deterministic, store, pixels, indices)
    if store.disabled:
        return np.concatenate(list(_compute(frozen, pixels, indices)))
    activations = frozen.cached_activations(store, pixels, indices)
    say(f"features: {activations.rows.hits:,} from the cache, {activations.rows.misses:,} computed")
    return activations.take(indices)[0]


def _frozen_backbone(
    config: ExploreConfig, deterministic: bool | None, store: DiskCache, pixels: Pixels, indices: IntArray
) -> FrozenPart:
    """Return the backbone up to its pooled features, on the engine of a run in which all of it is frozen.

    In int8 it is quantised on the images at `indices`.
    """
    tensorflow_setup.import_tensorflow()
    choice = engine.choose_engine(
        config.engine, *_precisions(config),
        depthwise=backbone_table.backbone_spec(config.backbone.name).depthwise,
        trains_backbone=False, hardware=detect_hardware(),
    )  # fmt: skip
    tensorflow_setup.start_tensorflow(config.seed, deterministic)
    from thaw.models import backbones, network

    backbone = backbones.build_backbone(config.backbone)
    joined = network.attach_head(backbone, HeadConfig(name="linear"), ("one", "other"))  # the head is behind the cut
    say(f"backbone: {backbone.name} · {backbone.image_size}x{backbone.image_size} · {choice.engine} in {choice.frozen}")
    return build_frozen_part(
        joined,
        network.feature_cut(joined),
        config.backbone,
        choice,
        network_cache=store,
        calibration=quantization.run_calibration(choice, pixels, indices),
    )


def _compute(frozen: FrozenPart, pixels: Pixels, indices: IntArray) -> Iterator[npt.NDArray[np.float32]]:
    function = round_as_stored(frozen.inference_function(), frozen.engine_choice)
    batches = [indices[i : i + BATCH_SIZE] for i in range(0, len(indices), BATCH_SIZE)]
    with progress("features", len(indices)) as steps:
        for images in prefetch(batches, pixels.take):
            yield function(images)[0]
            steps.advance(len(images))

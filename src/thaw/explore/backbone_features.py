"""The pooled features of a backbone that is all frozen: the same rows of the cache as recipe=bottleneck's."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from thaw.cache import DiskCache
from thaw.common import backend
from thaw.common.console import progress, say
from thaw.common.errors import UserError
from thaw.config.schema import HeadConfig
from thaw.config.tool_schemas import ExploreConfig
from thaw.data.pixels import Pixels
from thaw.frozen import engine
from thaw.frozen.activations import BATCH_SIZE, FrozenPart, build_frozen_part
from thaw.frozen.batch_runner import prefetch
from thaw.models import backbone_table


def check_pretrained(config: ExploreConfig) -> None:
    """Raise UserError for a backbone that has learned nothing: its features would compare nothing of worth."""
    backbone_table.check_backbone(config.backbone)
    if config.backbone.weights == "none":
        raise UserError(
            f"backbone={config.backbone.name} with backbone.weights=none has random weights: pictures are compared by "
            "what a pretrained backbone sees in them. Use imagenet or a weights file"
        )


def pooled_features(
    config: ExploreConfig, pixels: Pixels, indices: npt.NDArray[np.int64], store: DiskCache
) -> npt.NDArray:
    """Return the features of images, float32 (len(indices), D), from the cache where they are there.

    indices: ascending, into the catalog.
    """
    frozen = _frozen(config)
    if store.disabled:
        return np.concatenate(list(_computed(frozen, pixels, indices)))
    kept = frozen.cached_activations(store, pixels, indices)
    say(f"features: {kept.rows.hits:,} from the cache, {kept.rows.misses:,} computed")
    return kept.take(indices)[0]


def _frozen(config: ExploreConfig) -> FrozenPart:
    """The backbone up to its pooled features, on the engine that a run with everything frozen would take."""
    backend.import_tensorflow()
    row = backbone_table.backbone_spec(config.backbone.name)
    choice = engine.choose_engine(
        config.engine, "auto", config.precision,
        depthwise=row.depthwise, trains_backbone=False, hardware=backend.detect_hardware(),
    )  # fmt: skip
    backend.start_tensorflow(config.seed, deterministic=True)
    from thaw.models import backbones, network

    built = backbones.build_backbone(config.backbone)
    joined = network.attach_head(built, HeadConfig(name="linear"), ("one", "other"))  # the head is behind the cut
    say(f"backbone: {built.name} · {built.image_size}x{built.image_size} · {choice.engine} in {choice.frozen}")
    return build_frozen_part(joined, network.feature_cut(joined), config.backbone, choice)


def _computed(frozen: FrozenPart, pixels: Pixels, indices: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.float32]]:
    function = frozen.inference_function()
    groups = [indices[i : i + BATCH_SIZE] for i in range(0, len(indices), BATCH_SIZE)]
    with progress("features", len(indices)) as steps:
        for images in prefetch(groups, pixels.take):
            yield function(images)[0]
            steps.advance(len(images))

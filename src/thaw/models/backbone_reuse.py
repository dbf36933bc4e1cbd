"""Reuse of a backbone by the next job of a sweep: building InceptionV3 takes longer than training its head."""

import dataclasses
import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thaw.common import tensorflow_setup
from thaw.config.schema import BackboneConfig
from thaw.models import backbones
from thaw.models.backbones import Backbone
from thaw.models.weights_hash import weights_sha256


@dataclass(frozen=True)
class _BuiltBackbone:
    request: object
    backbone: Backbone
    sha256: str
    consumers: tuple[Any, ...]  # nodes behind the last layer, when it was new


_last: _BuiltBackbone | None = None


def build_or_reuse(config: BackboneConfig, seed: int) -> tuple[Backbone, str]:
    """Return the backbone of a config, and the sha256 of its weights. Call `start_tensorflow` first.

    The backbone of this process's last run is reused if config and seed are the same and its weights are unchanged bit
    for bit, so a run that trained it does not affect the next. Keras is seeded again afterwards, as building draws
    random numbers and reuse does not: what is built next, such as the head, is the same in both cases.
    """
    global _last
    import tensorflow as tf

    copies = tf.distribute.get_strategy().num_replicas_in_sync  # of every variable: see `common.devices`
    request = (dataclasses.astuple(config), seed, _identity(config.weights), copies)
    if _last and _last.request == request and weights_sha256(_last.backbone.model) == _last.sha256:
        # Detach the head of the last run, so that its memory is freed.
        _last.backbone.model.output._keras_history.operation._outbound_nodes[:] = _last.consumers
        gc.collect()
    else:
        _last = None
        gc.collect()  # frees the last network, a cycle of references, before the next one is built
        built = backbones.build_backbone(config)
        consumers = tuple(built.model.output._keras_history.operation._outbound_nodes)
        _last = _BuiltBackbone(request, built, weights_sha256(built.model), consumers)
    tensorflow_setup.seed_keras(seed)
    return _last.backbone, _last.sha256


def _identity(weights: str) -> object:
    """Return size and time of a weights file, which change when it is replaced."""
    file = Path(weights).expanduser()
    return (file.stat().st_size, file.stat().st_mtime_ns) if file.is_file() else None
